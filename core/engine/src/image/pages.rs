//! A buffer of pages, and how a chunk is compressed and hashed.

use std::fmt;

use xxhash_rust::xxh3::xxh3_128;
use zstd::bulk::{Compressor, Decompressor};

use super::header::{ChunkEntry, Encoding};
use super::{CHUNK_BYTES, CHUNK_PAGES, PAGE};
use crate::kernel::buffer::Buffer;

/// The level of zstd: a group stands still while it is written, and this one takes half the time of level 1 for memory that
/// becomes a tenth larger.
const LEVEL: i32 = -1;
/// Where time does not matter: zstd's own choice between the two.
const FULL_LEVEL: i32 = 3;
/// A chunk is looked at through so many pieces, spread over all of it, before it is compressed: one for every 64 KiB.
const SAMPLE_STRIDE: usize = 64 << 10;
/// The length of a piece in bytes.
const SAMPLE_PIECE: usize = 1024;
/// Chunks of so many pages and less are compressed without looking first.
const SMALL_PAGES: usize = 8;

/// How much smaller a chunk must become to be worth the time. The more it shrinks, the less time it takes too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thrift {
    /// To a half: what shrinks less takes longer to compress than to write.
    Room,
    /// To an eighth: a small group is awaited, and its image is small in any case.
    Haste,
    /// By a page, which is what the file's layout can save.
    Full,
    /// Nothing is worth it.
    Off,
}

impl Thrift {
    /// The most bytes a sample may become, where one is taken.
    fn most(self, sample: usize) -> Option<usize> {
        match self {
            Self::Room => Some(sample / 2),
            Self::Haste => Some(sample / 8),
            Self::Full | Self::Off => None,
        }
    }

    /// The level of zstd.
    fn level(self) -> i32 {
        if self == Self::Full { FULL_LEVEL } else { LEVEL }
    }
}

/// Room for one chunk of pages, aligned for O_DIRECT, and what is needed to compress it. Each thread owns one.
pub struct PageBuffer {
    /// The pages, then as much room again to compress them into.
    room: Buffer,
    pages: usize,
    compressor: Option<Compressor<'static>>,
    decompressor: Option<Decompressor<'static>>,
}

impl fmt::Debug for PageBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageBuffer").field("pages", &self.pages).finish_non_exhaustive()
    }
}

impl Default for PageBuffer {
    fn default() -> Self {
        Self::new()
    }
}

/// A chunk as it goes into the file.
pub(super) struct Encoded<'a> {
    /// Whole pages, at an aligned address.
    pub bytes: &'a [u8],
    /// How many of them mean something.
    pub stored: usize,
    /// How many pages of memory they hold.
    pub pages: usize,
    pub encoding: Encoding,
    pub hash: u128,
}

impl PageBuffer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::with(Buffer::new(2 * CHUNK_BYTES, false))
    }

    /// An empty buffer to read many chunks into.
    pub fn for_reading() -> Self {
        Self::with(Buffer::new(2 * CHUNK_BYTES, true))
    }

    fn with(room: Buffer) -> Self {
        Self { room, pages: 0, compressor: None, decompressor: None }
    }

    fn halves(&self) -> (&[u8], &[u8]) {
        let (data, rest) = self.room.split_at(CHUNK_BYTES);
        (data, rest.get(..CHUNK_BYTES).unwrap_or_default())
    }

    fn halves_mut(&mut self) -> (&mut [u8], &mut [u8]) {
        let (data, rest) = self.room.split_at_mut(CHUNK_BYTES);
        (data, rest.get_mut(..CHUNK_BYTES).unwrap_or_default())
    }

    /// All of the room: [`CHUNK_BYTES`], to be filled from the front. What was in it is still there.
    pub fn space(&mut self) -> &mut [u8] {
        self.halves_mut().0
    }

    /// Says how many pages have been filled. More than [`CHUNK_PAGES`] are refused when the buffer is put.
    pub fn set_len(&mut self, pages: usize) {
        self.pages = pages;
    }

    /// How many pages have been filled.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// The filled pages.
    pub fn data(&self) -> &[u8] {
        self.halves().0.get(..self.pages.saturating_mul(PAGE)).unwrap_or_default()
    }

    /// The filled pages as they go into the file, or `None` where there are none or too many.
    pub(super) fn encode(&mut self, thrift: Thrift) -> Option<Encoded<'_>> {
        let pages = self.pages;
        if pages == 0 || pages > CHUNK_PAGES {
            return None;
        }
        let (encoding, stored) = match self.compress(thrift) {
            Some(stored) => (Encoding::Zstd, stored),
            None => (Encoding::Raw, pages * PAGE),
        };
        let bytes = match encoding {
            Encoding::Zstd => self.halves().1.get(..stored.next_multiple_of(PAGE))?,
            Encoding::Raw => self.data(),
        };
        Some(Encoded { bytes, stored, pages, encoding, hash: xxh3_128(bytes) })
    }

    /// Compresses the filled pages into the scratch room, with zeros up to the next page, and says how long they became;
    /// `None` where that does not pay. Compression only saves room: when it fails, the pages are stored as they are.
    fn compress(&mut self, thrift: Thrift) -> Option<usize> {
        if thrift == Thrift::Off {
            return None;
        }
        // All chunks of an image are given the same time, so that the first one decides.
        if self.compressor.is_none() {
            self.compressor = Compressor::new(thrift.level()).ok();
        }
        let compressor = self.compressor.as_mut()?;
        let (data, rest) = self.room.split_at_mut(CHUNK_BYTES);
        let (data, scratch) = (data.get(..self.pages * PAGE)?, rest.get_mut(..CHUNK_BYTES)?);
        if self.pages > SMALL_PAGES && !shrinks(compressor, data, scratch, thrift) {
            return None;
        }
        // At least one page in sixteen must be saved, and one at all.
        let least = if thrift == Thrift::Full { PAGE } else { data.len().div_ceil(16) };
        let limit = data.len().saturating_sub(least) / PAGE * PAGE;
        let room = scratch.get_mut(..limit)?;
        let stored = compressor.compress_to_buffer(data, room).ok()?;
        room.get_mut(stored..stored.next_multiple_of(PAGE))?.fill(0);
        (stored > 0).then_some(stored)
    }

    /// Room for a chunk that is stored raw or compressed: where its bytes in the file are to be read to.
    pub(super) fn incoming(&mut self, entry: &ChunkEntry) -> &mut [u8] {
        self.pages = 0;
        let (data, scratch) = self.halves_mut();
        let room = match entry.encoding {
            Encoding::Raw => data,
            Encoding::Zstd => scratch,
        };
        room.get_mut(..entry.space()).unwrap_or_default()
    }

    /// Checks the bytes that came into [`Self::incoming`] and unpacks them; then [`Self::data`] holds the pages.
    pub(super) fn decode(&mut self, entry: &ChunkEntry) -> Result<&[u8], &'static str> {
        const SIZE: &str = "a chunk has a size that this format does not allow";
        let from = match entry.encoding {
            Encoding::Raw => self.halves().0,
            Encoding::Zstd => self.halves().1,
        };
        let bytes = from.get(..entry.space()).ok_or(SIZE)?;
        if xxh3_128(bytes).to_le_bytes() != entry.hash {
            return Err("its bytes have changed");
        }
        if entry.encoding == Encoding::Zstd {
            self.decompress(entry)?;
        }
        self.pages = usize::from(entry.pages);
        Ok(self.data())
    }

    fn decompress(&mut self, entry: &ChunkEntry) -> Result<(), &'static str> {
        const SIZE: &str = "a chunk has a size that this format does not allow";
        let (data, scratch) = self.room.split_at_mut(CHUNK_BYTES);
        let (frame, padding) = (scratch.get(..entry.space()))
            .and_then(|bytes| bytes.split_at_checked(entry.stored as usize))
            .ok_or(SIZE)?;
        if padding.iter().any(|&byte| byte != 0) {
            return Err("the bytes behind it are not zero");
        }
        if self.decompressor.is_none() {
            self.decompressor = Some(Decompressor::new().map_err(|_| "zstd has no memory to unpack it")?);
        }
        let decompressor = self.decompressor.as_mut().ok_or("zstd has no memory to unpack it")?;
        let room = data.get_mut(..entry.bytes()).ok_or(SIZE)?;
        match decompressor.decompress_to_buffer(frame, room) {
            Ok(length) if length == entry.bytes() => Ok(()),
            Ok(_) => Err("it holds fewer pages than the index says"),
            Err(_) => Err("it cannot be unpacked to the pages that the index says"),
        }
    }
}

/// Whether a sample of the data shrinks enough. Uses the scratch room.
fn shrinks(compressor: &mut Compressor<'static>, data: &[u8], scratch: &mut [u8], thrift: Thrift) -> bool {
    let pieces = data.len().div_ceil(SAMPLE_STRIDE);
    let Some((sample, rest)) = scratch.split_at_mut_checked(pieces * SAMPLE_PIECE) else { return false };
    for (piece, from) in sample.chunks_exact_mut(SAMPLE_PIECE).zip(data.chunks(data.len() / pieces)) {
        if let Some(from) = from.get(..SAMPLE_PIECE) {
            piece.copy_from_slice(from);
        }
    }
    let Some(most) = thrift.most(sample.len()) else { return true };
    let Some(room) = rest.get_mut(..most) else { return false };
    compressor.compress_to_buffer(sample, room).is_ok()
}
