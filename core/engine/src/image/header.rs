//! The fixed parts of an image as bytes: header, section table, chunk index and footer. Pure: no system calls.
//!
//! All numbers are little-endian. `decode` checks what can be checked in one part alone; the reader holds the parts
//! against each other.

use xxhash_rust::xxh3::xxh3_128;

use super::{CHUNK_BYTES, CHUNK_PAGES, PAGE};

/// The version of the container this build writes, and the newest it reads.
pub const FORMAT: u32 = 1;
/// The version of this reader: a section that wants a newer one is refused.
pub const READER: u32 = 1;
/// What every image begins with: not text, and broken by a transfer that changes line ends.
pub const MAGIC: [u8; 16] = *b"\x89DORMOUSE\r\n\x1a\n\0\0\0";
/// What every footer begins with.
pub const FOOTER_MAGIC: [u8; 16] = *b"DORMOUSE-FOOTER\n";
/// The length of the header in bytes: a page, so that chunks begin aligned.
pub const HEADER_LENGTH: usize = PAGE;
/// The length of an entry of the section table in bytes.
pub const SECTION_ENTRY_LENGTH: usize = 48;
/// The length of an entry of the chunk index in bytes.
pub const CHUNK_ENTRY_LENGTH: usize = 32;
/// The length of the footer in bytes, with its hash.
pub const FOOTER_LENGTH: usize = 80;
/// How many chunks an image has at most: 4 TiB of memory in full chunks, an index of 128 MiB.
pub const CHUNK_LIMIT: u64 = 1 << 22;

/// The header has a hash of its own over the bytes before it, so that a cut file can be told from a damaged one.
const HEADER_HASHED: usize = 40;
/// The hash in the footer covers the header, the section table, the chunk index and these bytes of the footer.
pub const FOOTER_HASHED: usize = FOOTER_LENGTH - 16;

/// Why a part could not be decoded: a clause.
pub type Fault = &'static str;

/// Takes numbers off the front of some bytes.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.bytes(N)?.try_into().map_err(|_| "it ends too early")
    }

    fn u8(&mut self) -> Result<u8, Fault> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_le_bytes)
    }

    fn u128(&mut self) -> Result<u128, Fault> {
        self.array().map(u128::from_le_bytes)
    }
}

/// The first page of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The length of the whole file.
    pub file_length: u64,
}

/// Why a header was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFault {
    /// The file does not begin like an image.
    Magic,
    /// The container has this newer format.
    Format(u32),
    /// The header contradicts itself.
    Damaged(Fault),
}

impl From<Fault> for HeaderFault {
    fn from(fault: Fault) -> Self {
        Self::Damaged(fault)
    }
}

impl Header {
    /// The header as bytes: [`HEADER_LENGTH`] of them.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LENGTH);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&(PAGE as u32).to_le_bytes());
        bytes.extend_from_slice(&(CHUNK_PAGES as u32).to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes());
        bytes.extend_from_slice(&self.file_length.to_le_bytes());
        bytes.extend_from_slice(&xxh3_128(&bytes).to_le_bytes());
        bytes.resize(HEADER_LENGTH, 0);
        bytes
    }

    /// The header that these bytes are.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let mut fields = Fields(bytes);
        if fields.array() != Ok(MAGIC) {
            return Err(HeaderFault::Magic);
        }
        let format = fields.u32()?;
        if format != FORMAT {
            return Err(if format > FORMAT { HeaderFault::Format(format) } else { "its format is 0".into() });
        }
        let (page, chunk_pages, reserved) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let file_length = fields.u64()?;
        let hash = fields.u128()?;
        if bytes.get(..HEADER_HASHED).map(xxh3_128) != Some(hash) {
            return Err("its bytes have changed".into());
        }
        if (page, chunk_pages, reserved) != (PAGE as u32, CHUNK_PAGES as u32, 0) {
            return Err("it names sizes that this format does not have".into());
        }
        if bytes.len() != HEADER_LENGTH || fields.0.iter().any(|&byte| byte != 0) {
            return Err("its rest is not empty".into());
        }
        Ok(Self { file_length })
    }
}

/// How the data of a chunk is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Raw,
    /// One zstd frame, RFC 8878, with zeros behind it up to the next whole page.
    Zstd,
}

/// What the index says about a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkEntry {
    /// Where it begins in the file; whole pages.
    pub offset: u64,
    /// How many bytes of it mean something; the rest of its last page is zero.
    pub stored: u32,
    /// How many pages it holds, 1 to [`CHUNK_PAGES`].
    pub pages: u16,
    /// How they are stored.
    pub encoding: Encoding,
    /// XXH3-128 of its bytes in the file, with the zeros behind them, as little-endian bytes.
    pub hash: [u8; 16],
}

impl ChunkEntry {
    /// How many bytes it takes in the file: whole pages, at most [`CHUNK_BYTES`].
    pub fn space(&self) -> usize {
        (self.stored as usize).next_multiple_of(PAGE)
    }

    /// How many bytes of memory it holds, at most [`CHUNK_BYTES`].
    pub fn bytes(&self) -> usize {
        usize::from(self.pages) * PAGE
    }

    /// The entry as bytes.
    pub fn encode(&self) -> [u8; CHUNK_ENTRY_LENGTH] {
        let mut number: u128 = u128::from(self.offset);
        number |= u128::from(self.stored) << 64;
        number |= u128::from(self.pages) << 96;
        number |= u128::from(self.encoding == Encoding::Zstd) << 112;
        let mut bytes = [0; CHUNK_ENTRY_LENGTH];
        let (front, back) = bytes.split_at_mut(16);
        front.copy_from_slice(&number.to_le_bytes());
        back.copy_from_slice(&self.hash);
        bytes
    }

    /// The entry that these bytes are. Sizes are within the limits; the offset is not yet held against the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let mut fields = Fields(bytes);
        let (offset, stored, pages) = (fields.u64()?, fields.u32()?, fields.u16()?);
        let encoding = match fields.u8()? {
            0 => Encoding::Raw,
            1 => Encoding::Zstd,
            _ => return Err("a chunk is stored in a way that this format does not have"),
        };
        if fields.u8()? != 0 {
            return Err("a reserved byte is not zero");
        }
        let entry = Self { offset, stored, pages, encoding, hash: fields.array()? };
        if pages == 0 || entry.bytes() > CHUNK_BYTES || stored == 0 || stored as usize > CHUNK_BYTES {
            return Err("a chunk has a size that this format does not allow");
        }
        match encoding {
            Encoding::Raw if stored as usize != entry.bytes() => Err("a raw chunk is not as long as its pages"),
            Encoding::Zstd if entry.space() >= entry.bytes() => Err("a compressed chunk is not smaller than its pages"),
            _ => Ok(entry),
        }
    }
}

/// What the section table says about a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionEntry {
    /// Which section it is: four letters.
    pub number: u32,
    /// The version it was written in.
    pub version: u32,
    /// The oldest reader that understands it.
    pub least_reader: u32,
    /// Whether a reader that does not know it must refuse the image.
    pub required: bool,
    /// Where it begins in the file.
    pub offset: u64,
    /// How many bytes of CBOR it holds.
    pub length: u64,
    /// XXH3-128 of them.
    pub hash: u128,
}

impl SectionEntry {
    /// The entry as bytes: [`SECTION_ENTRY_LENGTH`] of them.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SECTION_ENTRY_LENGTH);
        for number in [self.number, self.version, self.least_reader, u32::from(self.required)] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.offset.to_le_bytes());
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes.extend_from_slice(&self.hash.to_le_bytes());
        bytes
    }

    /// The entry that these bytes are; nothing in it is held against the file yet.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let mut fields = Fields(bytes);
        let (number, version, least_reader) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let required = match fields.u32()? {
            0 => false,
            1 => true,
            _ => return Err("a section has flags that this format does not have"),
        };
        let (offset, length, hash) = (fields.u64()?, fields.u64()?, fields.u128()?);
        Ok(Self { number, version, least_reader, required, offset, length, hash })
    }
}

/// The last bytes of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The length of the whole file.
    pub file_length: u64,
    /// Where the chunks end and the sections begin; whole pages.
    pub chunks_end: u64,
    /// Where the sections end and the section table begins.
    pub table: u64,
    /// Where the section table ends and the chunk index begins.
    pub index: u64,
    /// How many chunks there are.
    pub chunks: u64,
    /// How many sections there are.
    pub sections: u32,
    /// XXH3-128 of the header, the section table, the chunk index and the footer before this hash.
    pub hash: u128,
}

impl Footer {
    /// The footer as bytes: [`FOOTER_LENGTH`] of them.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FOOTER_LENGTH);
        bytes.extend_from_slice(&FOOTER_MAGIC);
        for number in [self.file_length, self.chunks_end, self.table, self.index, self.chunks] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.sections.to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes());
        bytes.extend_from_slice(&self.hash.to_le_bytes());
        bytes
    }

    /// The footer that these bytes are, if the places it names follow each other without gap or overlap.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let mut fields = Fields(bytes);
        if fields.array() != Ok(FOOTER_MAGIC) {
            return Err("it does not begin like a footer");
        }
        let (file_length, chunks_end, table) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (index, chunks, sections) = (fields.u64()?, fields.u64()?, fields.u32()?);
        if fields.u32()? != 0 {
            return Err("a reserved number is not zero");
        }
        let footer = Self { file_length, chunks_end, table, index, chunks, sections, hash: fields.u128()? };
        if footer.places_follow() { Ok(footer) } else { Err("the places it names do not fit the file") }
    }

    fn places_follow(&self) -> bool {
        let table_end = u64::from(self.sections)
            .checked_mul(SECTION_ENTRY_LENGTH as u64)
            .and_then(|length| self.table.checked_add(length));
        let index_end =
            self.chunks.checked_mul(CHUNK_ENTRY_LENGTH as u64).and_then(|length| self.index.checked_add(length));
        self.chunks_end >= HEADER_LENGTH as u64
            && self.chunks_end.is_multiple_of(PAGE as u64)
            && self.chunks_end <= self.table
            && table_end == Some(self.index)
            && index_end.and_then(|end| end.checked_add(FOOTER_LENGTH as u64)) == Some(self.file_length)
    }
}
