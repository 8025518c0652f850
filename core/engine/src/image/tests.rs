//! An image as a whole: what goes in comes out, and no damage goes unseen.

use std::path::{Path, PathBuf};

use dormouse_wire::Quiet;

use super::{PAGE, PageBuffer, PageNumber, Reader, SectionKind, Writer};

/// A folder that is removed with the test, and the name of an image in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("small.dormouse");
    (folder, path)
}

/// Bytes that zstd cannot shrink, from a seed.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(length)
    .collect()
}

fn put(writer: &Writer, data: &[u8]) -> PageNumber {
    let mut buffer = PageBuffer::new();
    buffer.space()[..data.len()].copy_from_slice(data);
    buffer.set_len(data.len() / PAGE);
    writer.pages().put(&mut buffer).expect("pages are taken")
}

/// An image with a raw chunk, a compressed one, and two sections.
fn small(path: &Path) -> [Vec<u8>; 2] {
    let mut writer = Writer::create(path).expect("an image begins");
    let chunks = [noise(2 * PAGE, 7), b"dormouse ".repeat(PAGE)[..3 * PAGE].to_vec()];
    for (number, chunk) in chunks.iter().enumerate() {
        assert_eq!(put(&writer, chunk), PageNumber::first_of(number as u64));
    }
    writer.section(SectionKind::Group, &vec!["one", "two"]).expect("a section is taken");
    writer.section(SectionKind::Origin, &42).expect("a section is taken");
    let sealed = writer.seal().expect("the image is sealed");
    assert_eq!((sealed.pages, sealed.size.0), (5, std::fs::metadata(path).expect("it is there").len()));
    chunks
}

#[test]
fn what_goes_in_comes_out() {
    let (_folder, path) = place();
    let chunks = small(&path);
    let reader = Reader::open(&path).expect("it opens");
    assert_eq!(reader.section::<Vec<String>>(SectionKind::Group).expect("a group"), ["one", "two"]);
    assert_eq!(reader.section::<u8>(SectionKind::Origin).expect("an origin"), 42);
    assert_eq!(reader.optional_section::<u8>(SectionKind::Losses).expect("nothing is wrong"), None);
    let mut buffer = PageBuffer::new();
    for (number, chunk) in chunks.iter().enumerate() {
        assert_eq!(reader.read_chunk(number as u64, &mut buffer).expect("a chunk"), chunk);
    }
    assert_eq!(reader.read_page(PageNumber(257), &mut buffer).expect("a page"), &chunks[1][PAGE..2 * PAGE]);
    assert_eq!(reader.stored().0, 3 * PAGE as u64);
    reader.verify(&Quiet).expect("it is whole");
}
