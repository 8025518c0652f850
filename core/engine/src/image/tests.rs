//! An image as a whole: what goes in comes out, and no damage and no lie goes unseen.

mod damage;
mod lies;
mod making;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::{ImageError, PAGE, PageBuffer, PageNumber, Reader, SectionKind, Writer};

/// A folder that is removed with the test, and the name of an image in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("small.dormouse");
    (folder, path)
}

/// A file in memory and a path to it: many images can be tried without a disk.
fn in_memory() -> (File, PathBuf) {
    let file = File::from(memfd_create("image", MFdFlags::MFD_CLOEXEC).expect("a file in memory"));
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    (file, path)
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

/// Bytes that zstd shrinks well.
fn text(length: usize) -> Vec<u8> {
    b"dormouse ".iter().copied().cycle().take(length).collect()
}

fn put(writer: &Writer, data: &[u8]) -> Result<PageNumber, ImageError> {
    let mut buffer = PageBuffer::new();
    buffer.space()[..data.len()].copy_from_slice(data);
    buffer.set_len(data.len() / PAGE);
    writer.pages().put(&mut buffer)
}

/// An image with a raw chunk, a compressed one, and two sections.
fn small(path: &Path) -> [Vec<u8>; 2] {
    let mut writer = Writer::create(path).expect("an image begins");
    let chunks = [noise(PAGE, 7), text(3 * PAGE)];
    for (number, chunk) in chunks.iter().enumerate() {
        assert_eq!(put(&writer, chunk).expect("pages are taken"), PageNumber::first_of(number as u64));
    }
    writer.section(SectionKind::Group, &vec!["one", "two"]).expect("a section is taken");
    writer.section(SectionKind::Origin, &42).expect("a section is taken");
    let sealed = writer.seal().expect("the image is sealed");
    assert_eq!((sealed.pages, sealed.size.0), (4, std::fs::metadata(path).expect("it is there").len()));
    chunks
}

/// Opens an image and reads all of it: every section as any value, every chunk.
fn read_all(path: &Path, buffer: &mut PageBuffer) -> Result<Vec<Vec<u8>>, ImageError> {
    let reader = Reader::open(path)?;
    for kind in SectionKind::all() {
        reader.optional_section::<ciborium::Value>(kind)?;
    }
    (0..reader.chunks() as u64).map(|chunk| reader.read_chunk(chunk, buffer).map(<[u8]>::to_vec)).collect()
}
