//! Opens any bytes as an image and reads all of it: once as they are, once with the hashes made right, because hardly any
//! bytes would come past those otherwise.

#![no_main]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use dormouse_engine::image::header::{
    CHUNK_ENTRY_LENGTH, FOOTER_HASHED, FOOTER_LENGTH, FOOTER_MAGIC, HEADER_LENGTH, Header, SECTION_ENTRY_LENGTH,
};
use dormouse_engine::image::{PageBuffer, Reader, SectionKind};
use dormouse_wire::Quiet;
use libfuzzer_sys::fuzz_target;
use nix::sys::memfd::{MFdFlags, memfd_create};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    if let Some(mended) = mend(bytes) {
        read(&mended);
    }
});

/// Reads all that can be read. Errors are what is expected; a panic or too much memory is not.
fn read(bytes: &[u8]) {
    let file = File::from(memfd_create("image", MFdFlags::MFD_CLOEXEC).expect("a file in memory"));
    file.write_all_at(bytes, 0).expect("it can be written");
    let Ok((reader, _)) = Reader::examine(&PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))) else {
        return;
    };
    for kind in SectionKind::all() {
        let _ = reader.optional_section::<ciborium::Value>(kind);
        let _ = reader.optional_section::<Vec<String>>(kind);
    }
    let mut buffer = PageBuffer::new();
    for chunk in 0..reader.chunks() as u64 {
        let pages = reader.chunk_pages(chunk);
        if let Ok(data) = reader.read_chunk(chunk, &mut buffer) {
            assert_eq!(data.len(), pages * 4096);
        }
    }
    let _ = reader.verify(&Quiet);
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?)).ok()
}

fn set(bytes: &mut [u8], at: usize, value: &[u8]) -> Option<()> {
    bytes.get_mut(at..at.checked_add(value.len())?)?.copy_from_slice(value);
    Some(())
}

/// A header and a footer around the bytes, the numbers in the footer theirs, and every hash right that has bytes.
fn mend(bytes: &[u8]) -> Option<Vec<u8>> {
    let (body, places) = bytes.split_at_checked(bytes.len().checked_sub(FOOTER_LENGTH)?)?;
    let file_length = (HEADER_LENGTH + bytes.len()) as u64;
    let mut image = Header { file_length }.encode();
    image.extend_from_slice(body);
    let footer = image.len();
    image.extend_from_slice(places);
    set(&mut image, footer, &FOOTER_MAGIC)?;
    set(&mut image, footer + 16, &file_length.to_le_bytes())?;
    let (table, index, sections) =
        (number(&image, footer + 32)?, number(&image, footer + 40)?, number(&image, footer + 56)? & 0xff);
    for entry in (0..sections).map_while(|section| table.checked_add(section * SECTION_ENTRY_LENGTH)) {
        let Some((offset, length)) = number(&image, entry.checked_add(16)?).zip(number(&image, entry.checked_add(24)?))
        else {
            break;
        };
        if let Some(hash) = offset.checked_add(length).and_then(|end| image.get(offset..end)).map(xxh3_128) {
            set(&mut image, entry.checked_add(32)?, &hash.to_le_bytes());
        }
    }
    for entry in (index..footer).step_by(CHUNK_ENTRY_LENGTH) {
        let Some((offset, stored)) = number(&image, entry).zip(number(&image, entry.checked_add(8)?)) else { break };
        let end = offset.checked_add((stored & 0xffff_ffff).next_multiple_of(4096));
        if let Some(hash) = end.and_then(|end| image.get(offset..end)).map(xxh3_128) {
            set(&mut image, entry.checked_add(16)?, &hash.to_le_bytes());
        }
    }
    let mut hasher = Xxh3::new();
    hasher.update(&image[..HEADER_LENGTH]);
    hasher.update(image.get(table..footer + FOOTER_HASHED)?);
    let hash = hasher.digest128();
    set(&mut image, footer + FOOTER_HASHED, &hash.to_le_bytes())?;
    Some(image)
}
