//! Damage: every bit counts, and no bytes make the reader panic.

use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use dormouse_wire::{ProblemKind, Quiet};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{ImageError, PAGE, PageBuffer, Reader, in_memory, place, read_all, small};

/// The bytes of a small image.
fn bytes() -> Vec<u8> {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let (_folder, path) = place();
        small(&path);
        fs::read(&path).expect("it can be read")
    });
    BYTES.clone()
}

#[test]
fn every_flipped_bit_is_found() {
    let bytes = bytes();
    let (file, path) = in_memory();
    file.write_all_at(&bytes, 0).expect("it can be written");
    let mut buffer = PageBuffer::new();
    read_all(&path, &mut buffer).expect("it is whole");
    for (place, byte) in bytes.iter().enumerate() {
        for bit in 0..8 {
            file.write_all_at(&[byte ^ 1 << bit], place as u64).expect("it can be written");
            let error = read_all(&path, &mut buffer).expect_err("the flip is found");
            assert_eq!(error.problem().kind, ProblemKind::Image, "byte {place}, bit {bit}: {error}");
        }
        file.write_all_at(&[*byte], place as u64).expect("it can be written");
    }
    read_all(&path, &mut buffer).expect("it is whole again");
}

#[test]
fn every_shorter_file_is_found() {
    let bytes = bytes();
    let (file, path) = in_memory();
    file.write_all_at(&bytes, 0).expect("it can be written");
    for length in (0..bytes.len()).rev() {
        file.set_len(length as u64).expect("it can be cut");
        let error = Reader::open(&path).expect_err("the cut is found");
        let cut = matches!(error, ImageError::Cut { .. });
        assert!(cut || (length < 16 && matches!(error, ImageError::NotAnImage { .. })), "{length}: {error}");
    }
}

#[test]
fn every_damaged_chunk_is_named_by_the_check() {
    let (_folder, path) = place();
    small(&path);
    let mut bytes = fs::read(&path).expect("it can be read");
    bytes[PAGE] ^= 1;
    bytes[2 * PAGE] ^= 1;
    fs::write(&path, bytes).expect("it can be written");
    let damage = Reader::open(&path).expect("its frame is whole").verify(&Quiet).expect("nobody cancels");
    assert_eq!((damage.chunks.len(), damage.more, damage.is_none()), (2, 0, false));
    for (chunk, error) in &damage.chunks {
        let place = (chunk + 1) * PAGE as u64;
        let what = format!("the page data of chunk {chunk} at byte {place}: its bytes have changed");
        assert!(error.to_string().ends_with(&what), "{error}");
    }
}

#[test]
fn a_damaged_section_hides_no_other_damage() {
    let (_folder, path) = place();
    small(&path);
    let mut bytes = fs::read(&path).expect("it can be read");
    for place in [PAGE, 3 * PAGE] {
        bytes[place] ^= 1;
    }
    fs::write(&path, bytes).expect("it can be written");
    let (reader, sections) = Reader::examine(&path).expect("its tables are whole");
    assert!(
        matches!(sections.as_slice(), [error] if error.to_string().contains("the section `group`")),
        "{sections:?}"
    );
    assert_eq!(reader.verify(&Quiet).expect("nobody cancels").chunks.len(), 1);
    assert!(reader.section::<ciborium::Value>(super::SectionKind::Group).is_err(), "a damaged section was believed");
    assert!(matches!(Reader::open(&path), Err(ImageError::Damaged { .. })));
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_an_error() {
    let (_folder, path) = place();
    small(&path);
    let reader = Reader::open(&path).expect("it opens");
    fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(5000)).expect("it can be cut");
    let damage = reader.verify(&Quiet).expect("nobody cancels");
    assert!(damage.chunks.values().any(|error| matches!(error, ImageError::Cut { .. })), "{damage:?}");
    assert!(matches!(reader.section::<u8>(super::SectionKind::Origin), Err(ImageError::Cut { .. })));
}

#[test]
fn what_is_no_file_is_no_image() {
    let (folder, path) = place();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).expect("a FIFO");
    for other in [path.as_path(), folder.path(), "/dev/zero".as_ref(), "/etc/passwd".as_ref(), "/dev/null".as_ref()] {
        let error = Reader::open(other).expect_err("it is none");
        assert!(matches!(error, ImageError::NotAnImage { .. }), "{error}");
    }
    let error = Reader::open(&folder.path().join("none")).expect_err("it is not there").problem();
    assert_eq!((error.kind, error.way_out.is_some()), (ProblemKind::File, true));
}

/// What can happen to a file: bytes change, move, are lost, or come.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Cut(Index),
    Add(Vec<u8>),
    Copy(Index, Index, Index),
    Remove(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(place, byte)| Change::Set(place, byte)),
        any::<Index>().prop_map(Change::Cut),
        vec(any::<u8>(), 1..9999).prop_map(Change::Add),
        (any::<Index>(), any::<Index>(), any::<Index>()).prop_map(|(from, to, into)| Change::Copy(from, to, into)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Remove(from, to)),
    ]
}

fn apply(change: &Change, bytes: &mut Vec<u8>) {
    let range = |from: &Index, to: &Index| {
        let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
        from.min(to)..from.max(to)
    };
    match change {
        Change::Set(place, byte) => {
            let place = place.index(bytes.len());
            bytes[place] = *byte;
        }
        Change::Cut(length) => bytes.truncate(length.index(bytes.len()).max(1)),
        Change::Add(more) => bytes.extend(more),
        Change::Copy(from, to, into) => {
            let piece = bytes[range(from, to)].to_vec();
            let into = into.index(bytes.len());
            bytes.splice(into..(into + piece.len()).min(bytes.len()), piece);
        }
        Change::Remove(from, to) => {
            let range = range(from, to);
            bytes.drain(range);
            bytes.push(0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn changed_bytes_are_found_or_say_the_same(changes in vec(change(), 1..5)) {
        let whole = bytes();
        let mut bytes = whole.clone();
        for change in &changes {
            apply(change, &mut bytes);
        }
        let (file, path) = in_memory();
        file.write_all_at(&bytes, 0).expect("it can be written");
        let answer = read_all(&path, &mut PageBuffer::new());
        prop_assert_eq!(answer.is_ok(), bytes == whole, "{:?}", answer.err());
    }

    #[test]
    fn any_bytes_behind_the_magic_are_refused(bytes in vec(any::<u8>(), 0..20_000)) {
        let (file, path) = in_memory();
        file.write_all_at(&bytes, 16).expect("it can be written");
        file.write_all_at(&crate::image::header::MAGIC, 0).expect("it can be written");
        prop_assert!(read_all(&path, &mut PageBuffer::new()).is_err());
    }
}
