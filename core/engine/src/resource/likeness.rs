//! What tells the content of a mapped file from another's when its times have changed: a package was installed again, a backup
//! restored, the whole copied to another machine. The pages of it that nobody wrote to are not in the image.

use std::fs::File;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// What is known of the content of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Likeness {
    /// The build-id of a program or library, which its linker wrote into it: NT_GNU_BUILD_ID, elf(5).
    pub build_id: Option<ByteBuf>,
    /// XXH3-64 of all its bytes; none: there were too many of them to read.
    pub content: Option<u64>,
}

/// A file is read as a whole if it has no more bytes.
const MOST: u64 = 4 << 20;
/// So many bytes of all files are read for a freeze.
pub const MOST_OF_ALL: u64 = 32 << 20;
/// How long a build-id is: that of usual linkers has 20 bytes.
const LONGEST: usize = 64;

impl Likeness {
    /// That of a file of this size; `left`: how many bytes may be read as a whole. None: nothing is known.
    pub fn of(file: &File, size: u64, left: &mut u64) -> Option<Self> {
        let is_small = size <= MOST.min(*left);
        let content = if is_small { whole(file, size) } else { None };
        if content.is_some() {
            *left -= size;
        }
        let build_id = build_id(file);
        (build_id.is_some() || content.is_some()).then_some(Self { build_id, content })
    }

    /// Whether a file of the same size has the same content, as far as that is known of both.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self.content, other.content) {
            (Some(one), Some(other)) => one == other,
            _ => self.build_id.is_some() && self.build_id == other.build_id,
        }
    }

    /// Whether it is a program or a library, as far as linkers name those.
    pub fn is_program(&self) -> bool {
        self.build_id.is_some()
    }

    /// The build-id as programs show it; at most as long as one is.
    pub fn shown(&self) -> Option<String> {
        let id = self.build_id.as_ref()?;
        Some(id.iter().take(LONGEST).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat())
    }
}

fn whole(file: &File, size: u64) -> Option<u64> {
    const STEP: usize = 256 << 10;
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    let (mut bytes, mut at) = (vec![0; STEP], 0);
    while at < size {
        let length = (size - at).min(STEP as u64) as usize;
        file.read_exact_at(&mut bytes[..length], at).ok()?;
        hash.update(&bytes[..length]);
        at += length as u64;
    }
    Some(hash.digest())
}

/// The build-id in a program or library of 64 bits.
fn build_id(file: &File) -> Option<ByteBuf> {
    const HEADER: usize = 64;
    const SEGMENT: usize = 56;
    const MOST_SEGMENTS: usize = 128;
    const NOTES: u32 = 4;
    const MOST_NOTES: u64 = 64 << 10;
    let read = |at: u64, length: usize| {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, at).ok().map(|()| bytes)
    };
    let header = read(0, HEADER).filter(|header| header.starts_with(b"\x7fELF\x02\x01"))?;
    let (table, size, count) = (long(&header, 0x20)?, half(&header, 0x36)?, half(&header, 0x38)?);
    if size != SEGMENT {
        return None;
    }
    let table = read(table, SEGMENT * count.min(MOST_SEGMENTS))?;
    let notes = table.chunks_exact(SEGMENT).filter(|segment| word(segment, 0) == Some(NOTES));
    notes.into_iter().find_map(|segment| {
        let (at, length, alignment) = (long(segment, 8)?, long(segment, 0x20)?, long(segment, 0x30)?);
        in_notes(&read(at, length.min(MOST_NOTES) as usize)?, if alignment == 8 { 8 } else { 4 })
    })
}

/// The build-id among notes: each has the lengths of its name and of what it says, its type, and both.
fn in_notes(mut notes: &[u8], alignment: usize) -> Option<ByteBuf> {
    const BUILD_ID: u32 = 3;
    loop {
        let (name, said, kind) = (word(notes, 0)? as usize, word(notes, 4)? as usize, word(notes, 8)?);
        let begin = name.checked_add(12)?.checked_next_multiple_of(alignment)?;
        let end = begin.checked_add(said)?;
        if kind == BUILD_ID && notes.get(12..12_usize.checked_add(name)?)? == b"GNU\0" && (1..=LONGEST).contains(&said)
        {
            return notes.get(begin..end).map(ByteBuf::from);
        }
        notes = notes.get(end.checked_next_multiple_of(alignment)?..)?;
    }
}

fn bytes<const LENGTH: usize>(all: &[u8], at: usize) -> Option<[u8; LENGTH]> {
    all.get(at..at.checked_add(LENGTH)?)?.try_into().ok()
}

fn long(all: &[u8], at: usize) -> Option<u64> {
    bytes(all, at).map(u64::from_le_bytes)
}

fn word(all: &[u8], at: usize) -> Option<u32> {
    bytes(all, at).map(u32::from_le_bytes)
}

fn half(all: &[u8], at: usize) -> Option<usize> {
    bytes(all, at).map(u16::from_le_bytes).map(usize::from)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn of(content: &[u8], mut left: u64) -> Option<Likeness> {
        let mut file = tempfile::tempfile().ok()?;
        file.write_all(content).ok()?;
        Likeness::of(&file, content.len() as u64, &mut left)
    }

    /// A program whose only segment is notes.
    fn program(notes: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[0x20] = 64;
        bytes[0x36] = 56;
        bytes[0x38] = 1;
        bytes[64] = 4;
        bytes[64 + 8] = 64 + 56;
        bytes[64 + 0x20] = notes.len() as u8;
        bytes[64 + 0x30] = 4;
        bytes.extend(notes);
        bytes
    }

    const NOTES: &[u8] =
        b"\x04\0\0\0\x05\0\0\0\x01\0\0\0GNU\0vwxyz\0\0\0\x04\0\0\0\x03\0\0\0\x03\0\0\0GNU\0\x01\x02\xff\0";

    #[test]
    fn the_build_id_is_found_behind_other_notes() {
        let found = of(&program(NOTES), 0);
        assert_eq!(found.as_ref().and_then(Likeness::shown).as_deref(), Some("0102ff"));
        assert_eq!(found.and_then(|found| found.content), None);
    }

    #[test]
    fn what_is_read_as_a_whole_is_told_by_its_bytes_and_the_rest_by_its_build_id() {
        let (one, mut other) = (program(NOTES), program(NOTES));
        other[20] = 1;
        let like = |left: u64| of(&one, left).zip(of(&other, left)).map(|(one, other)| one.is_like(&other));
        assert_eq!((like(1000), like(0)), (Some(false), Some(true)));
        assert_eq!((of(b"words", 4), of(b"words", 5).is_some()), (None, true));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0_usize..160, byte: u8, cut in 0_usize..160) {
            let mut bytes = program(NOTES);
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(length - cut % length);
            let _ = of(&bytes, 0);
        }
    }
}
