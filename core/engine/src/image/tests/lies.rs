//! Images whose hashes are right and whose numbers lie: made by hand, refused in little memory.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use dormouse_wire::ProblemKind;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::{ImageError, PAGE, PageBuffer, Reader, SectionKind, in_memory, noise, read_all};
use crate::image::header::{
    CHUNK_LIMIT, ChunkEntry, Encoding, FOOTER_HASHED, FOOTER_LENGTH, Footer, HEADER_LENGTH, Header, READER,
    SectionEntry,
};
use crate::image::section::SECTION_LIMIT;
use crate::image::writer::frame;

/// The chunks of an image made by hand, their bytes, its sections, and theirs.
#[derive(Clone)]
struct Forged {
    chunks: Vec<ChunkEntry>,
    data: Vec<u8>,
    sections: Vec<SectionEntry>,
    metadata: Vec<u8>,
}

impl Forged {
    /// Nothing but a group of these bytes of CBOR.
    fn group(metadata: &[u8]) -> Self {
        let entry = SectionEntry {
            number: SectionKind::Group.number(),
            version: 1,
            least_reader: 1,
            required: true,
            offset: HEADER_LENGTH as u64,
            length: metadata.len() as u64,
            hash: xxh3_128(metadata),
        };
        Self { chunks: Vec::new(), data: Vec::new(), sections: vec![entry], metadata: metadata.to_vec() }
    }

    /// Two pages of noise in two chunks.
    fn two_chunks() -> Self {
        let data = noise(2 * PAGE, 3);
        let chunk = |number: usize| ChunkEntry {
            offset: (HEADER_LENGTH + number * PAGE) as u64,
            stored: PAGE as u32,
            pages: 1,
            encoding: Encoding::Raw,
            hash: xxh3_128(&data[number * PAGE..][..PAGE]).to_le_bytes(),
        };
        Self { chunks: vec![chunk(0), chunk(1)], data, sections: Vec::new(), metadata: Vec::new() }
    }

    /// One compressed chunk: these bytes, which claim to be so many pages.
    fn compressed(frame: &[u8], pages: u16) -> Self {
        let mut data = frame.to_vec();
        data.resize(frame.len().next_multiple_of(PAGE), 0);
        let (offset, stored, encoding) = (HEADER_LENGTH as u64, frame.len() as u32, Encoding::Zstd);
        let chunk = ChunkEntry { offset, stored, pages, encoding, hash: xxh3_128(&data).to_le_bytes() };
        Self { chunks: vec![chunk], data, sections: Vec::new(), metadata: Vec::new() }
    }

    fn bytes(&self) -> Vec<u8> {
        let chunks_end = (HEADER_LENGTH + self.data.len()) as u64;
        let table = chunks_end + self.metadata.len() as u64;
        let (header, tail) = frame(&self.sections, &self.chunks, chunks_end, table);
        [header.as_slice(), &self.data, &self.metadata, &tail].concat()
    }

    fn read(&self) -> Result<Vec<Vec<u8>>, ImageError> {
        read_bytes(&self.bytes())
    }

    fn with_chunk(&self, change: impl FnOnce(&mut ChunkEntry)) -> Self {
        let mut forged = self.clone();
        change(&mut forged.chunks[1]);
        forged
    }

    fn with_section(&self, change: impl FnOnce(&mut SectionEntry)) -> Self {
        let mut forged = self.clone();
        change(&mut forged.sections[0]);
        forged
    }
}

fn read_bytes(bytes: &[u8]) -> Result<Vec<Vec<u8>>, ImageError> {
    let (file, path) = in_memory();
    file.write_all_at(bytes, 0).expect("it can be written");
    read_all(&path, &mut PageBuffer::new())
}

/// An image with another footer, and the hash that it then has.
fn with_footer(bytes: &[u8], change: impl FnOnce(&mut Footer)) -> Vec<u8> {
    let (front, footer) = bytes.split_at(bytes.len() - FOOTER_LENGTH);
    let mut footer = Footer::decode(footer).expect("a footer");
    let table = footer.table as usize;
    change(&mut footer);
    let mut hasher = Xxh3::new();
    hasher.update(&front[..HEADER_LENGTH]);
    hasher.update(&front[table..]);
    hasher.update(&footer.encode()[..FOOTER_HASHED]);
    footer.hash = hasher.digest128();
    [front, &footer.encode()].concat()
}

fn refused(forged: &Forged, what: &str) {
    let error = forged.read().expect_err(what);
    assert!(error.to_string().contains(what), "{what}: {error}");
    assert_eq!(error.problem().kind, ProblemKind::Image);
}

#[test]
fn what_is_forged_without_a_lie_is_read() {
    assert_eq!(Forged::two_chunks().read().expect("it is whole").concat(), noise(2 * PAGE, 3));
    Forged::group(b"\x01").read().expect("it is whole");
    let frame = zstd::bulk::compress(&[7; 2 * PAGE], 1).expect("a frame");
    assert_eq!(Forged::compressed(&frame, 2).read().expect("it is whole"), [[7; 2 * PAGE]]);
    let bytes = Forged::two_chunks().bytes();
    assert_eq!(with_footer(&bytes, |_| ()), bytes);
}

#[test]
fn a_chunk_that_is_not_where_it_can_be_is_refused() {
    let two = Forged::two_chunks();
    let begins = "chunk 1: it does not begin where the one before it ends";
    for offset in [0, 1, 4096, 4097, 8191, 12288, 1 << 40, u64::MAX, u64::MAX - 4095] {
        refused(&two.with_chunk(|chunk| chunk.offset = offset), begins);
    }
    refused(&two.with_chunk(|chunk| (chunk.pages, chunk.stored) = (2, 8192)), "chunk 1: it ends behind");
    let mut fewer = two.clone();
    fewer.chunks.pop();
    refused(&fewer, "chunk 1: it is missing");
}

#[test]
fn a_chunk_of_an_impossible_size_is_refused() {
    let two = Forged::two_chunks();
    for (pages, stored) in [(0, 0), (0, 4096), (257, 257 * 4096), (u16::MAX, u32::MAX), (1, 0), (256, u32::MAX)] {
        refused(&two.with_chunk(|chunk| (chunk.pages, chunk.stored) = (pages, stored)), "does not allow");
    }
    refused(&two.with_chunk(|chunk| chunk.pages = 2), "a raw chunk is not as long as its pages");
    refused(&two.with_chunk(|chunk| chunk.encoding = Encoding::Zstd), "not smaller than its pages");
    for (place, what) in [(14, "a way that this format does not have"), (15, "a reserved byte")] {
        let bytes = two.bytes();
        let mut bytes = with_footer(&bytes, |_| ());
        let place = bytes.len() - FOOTER_LENGTH - 32 + place;
        bytes[place] = 2;
        let error = read_bytes(&with_footer(&bytes, |_| ())).expect_err(what);
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn a_compressed_chunk_that_is_more_or_less_than_it_says_is_refused() {
    let frame = |length: usize| zstd::bulk::compress(&vec![0; length], 1).expect("a frame");
    let bomb = frame(100 << 20);
    assert!(bomb.len() < 256 * PAGE, "{}", bomb.len());
    refused(&Forged::compressed(&bomb, 256), "cannot be unpacked");
    refused(&Forged::compressed(&frame(2 * PAGE + 1), 2), "cannot be unpacked");
    refused(&Forged::compressed(&frame(2 * PAGE - 1), 2), "fewer pages");
    refused(&Forged::compressed(b"no frame", 2), "cannot be unpacked");
    let mut padded = Forged::compressed(&frame(2 * PAGE), 2);
    padded.data[PAGE - 1] = 1;
    padded.chunks[0].hash = xxh3_128(&padded.data).to_le_bytes();
    refused(&padded, "the bytes behind it are not zero");
}

#[test]
fn a_section_that_is_not_where_it_can_be_is_refused() {
    let group = Forged::group(b"\x01");
    for offset in [0, 4095, 4097, u64::MAX] {
        refused(&group.with_section(|entry| entry.offset = offset), "the section `group` is not where it can be");
    }
    for length in [SECTION_LIMIT + 1, u64::MAX] {
        refused(&group.with_section(|entry| entry.length = length), "too long");
    }
    for length in [0, 2, SECTION_LIMIT] {
        refused(&group.with_section(|entry| entry.length = length), "do not end where it begins");
    }
    let mut twice = group.clone();
    twice.sections.push(SectionEntry { offset: 4097, length: 0, ..twice.sections[0] });
    refused(&twice, "the section `group` stands in it twice");
}

#[test]
fn a_section_this_build_does_not_understand_is_refused_by_name_or_skipped() {
    let group = Forged::group(b"\x01");
    refused(&group.with_section(|entry| entry.least_reader = READER + 1), "`group` wants reader 2, this is reader 1");
    let number = u32::from_le_bytes(*b"NEXT");
    refused(&group.with_section(|entry| entry.number = number), "the section NEXT must be understood");
    let optional = group.with_section(|entry| {
        (entry.number, entry.required, entry.least_reader, entry.version) = (number, false, 9, 9);
    });
    optional.read().expect("it is skipped");
    let mut damaged = optional.clone();
    damaged.metadata[0] ^= 1;
    refused(&damaged, "the section NEXT at byte 4096: its bytes have changed");
}

#[test]
fn cbor_that_lies_is_refused() {
    let deep = vec![0x81; 1 << 20];
    let endless: Vec<&[u8]> = vec![
        b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xbb\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\x7b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x9f\x5f",
        b"\xff",
        b"",
        &deep,
        b"\x01\x01",
    ];
    for metadata in endless {
        let (file, path) = in_memory();
        file.write_all_at(&Forged::group(metadata).bytes(), 0).expect("it can be written");
        let reader = Reader::open(&path).expect("the frame is whole");
        let start = metadata.get(..9).unwrap_or(metadata);
        let answers = [
            reader.section::<ciborium::Value>(SectionKind::Group).err(),
            reader.section::<Vec<u64>>(SectionKind::Group).err(),
            reader.section::<serde_bytes::ByteBuf>(SectionKind::Group).err(),
            reader.section::<std::collections::BTreeMap<String, String>>(SectionKind::Group).err(),
        ];
        for answer in answers {
            assert!(matches!(answer, Some(ImageError::Decode { section: "group", .. })), "{start:?}: {answer:?}");
        }
    }
    assert!(peak() < 600 << 20, "{} bytes", peak());
}

#[test]
fn a_footer_that_lies_is_refused() {
    let bytes = Forged::two_chunks().bytes();
    let lies: [fn(&mut Footer); 9] = [
        |footer| footer.chunks = u64::MAX,
        |footer| footer.chunks = 1 << 59,
        |footer| footer.sections = u32::MAX,
        |footer| footer.index = u64::MAX,
        |footer| (footer.index, footer.table) = (0, 0),
        |footer| footer.table = u64::MAX,
        |footer| footer.chunks_end = !4095,
        |footer| footer.chunks_end = 0,
        |footer| footer.file_length += 1,
    ];
    for lie in lies {
        let error = read_bytes(&with_footer(&bytes, lie)).expect_err("it lies");
        assert!(matches!(error, ImageError::Damaged { .. }), "{error}");
    }
}

/// A file with holes, which is as large as its frame says: 64 TiB on no disk at all.
fn hollow(path: &Path, chunks_end: u64, sections: &[SectionEntry], chunks: u64) {
    let table = sections.last().map_or(chunks_end, |entry| entry.offset + entry.length);
    let index = table + sections.len() as u64 * 48;
    let file_length = index + chunks * 32 + FOOTER_LENGTH as u64;
    let footer = Footer { file_length, chunks_end, table, index, chunks, sections: sections.len() as u32, hash: 0 };
    let file = fs::File::create(path).expect("a file");
    file.set_len(file_length).expect("a hollow file");
    file.write_all_at(&Header { file_length }.encode(), 0).expect("a header");
    let entries: Vec<u8> = sections.iter().flat_map(SectionEntry::encode).collect();
    file.write_all_at(&entries, table).expect("a table");
    file.write_all_at(&footer.encode(), file_length - FOOTER_LENGTH as u64).expect("a footer");
}

#[test]
fn a_hollow_file_costs_little_memory() {
    let (_file, path) = in_memory();
    let before = peak();
    hollow(&path, 1 << 40, &[], CHUNK_LIMIT + 1);
    assert!(Reader::open(&path).expect_err("too many").to_string().contains("more sections or chunks"));
    hollow(&path, 1 << 40, &[], CHUNK_LIMIT);
    assert!(Reader::open(&path).expect_err("none is there").to_string().contains("chunk 0: a chunk has a size"));
    let section = |number: u32| SectionEntry {
        offset: 4096 + u64::from(number) * SECTION_LIMIT,
        length: SECTION_LIMIT,
        ..Forged::group(b"").with_section(|entry| entry.number = number).sections[0]
    };
    let sections: Vec<_> = (0..5).map(section).collect();
    hollow(&path, 4096, &sections, 0);
    assert!(Reader::open(&path).expect_err("too long").to_string().contains("too long"));
    assert!(peak() - before < 300 << 20, "{} bytes", peak() - before);
}

/// How much memory this process has used at most, proc_pid_status(5); other tests in the same process count.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("it can be read");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
