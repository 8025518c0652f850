//! Bytes of an image change or get lost: `verify` and `thaw` both say what is wrong, and nothing is made from it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

use dormouse_engine::image::header::{
    CHUNK_ENTRY_LENGTH, FOOTER_LENGTH, Footer, HEADER_LENGTH, SECTION_ENTRY_LENGTH, SectionEntry,
};
use dormouse_engine::image::{Reader, SectionKind};
use dormouse_engine::resource::group::Group;
use dormouse_engine::resource::memory::mapping::Source;
use harness::command::{self, Outcome};
use harness::process::Stat;
use harness::specimen::Answer;
use harness::{Program, Specimen, User};

use crate::{ZOO, done};

fn asleep(name: &'static str) -> Specimen {
    let mut specimen = Specimen::start(Path::new(ZOO), &Program::named(name), User::Root);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let members = specimen.members();
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&members);
    specimen
}

fn footer(bytes: &[u8]) -> Footer {
    let last: [u8; FOOTER_LENGTH] = bytes[bytes.len() - FOOTER_LENGTH..].try_into().unwrap_or([0; FOOTER_LENGTH]);
    Footer::decode(&last).unwrap_or_else(|fault| panic!("{fault}"))
}

fn verified(specimen: &Specimen) -> Outcome {
    command::run(&["verify", &specimen.image().to_string_lossy()], &specimen.image().with_file_name(""), || {})
}

/// One sentence on one line: the width of a message breaks it anywhere.
/// Both commands end with 1 and say this about the image; no process is there.
fn told_of(specimen: &mut Specimen, damage: &str, said: &[&str]) {
    let image = specimen.image().to_string_lossy().into_owned();
    for (command, outcome) in [("verify", verified(specimen)), ("thaw", specimen.thaw())] {
        let words = outcome.words();
        assert_eq!(outcome.status.code(), Some(1), "{damage}: `{command}` ended with {}\n{words}", outcome.status);
        assert!(words.contains(&image) && !words.contains("panicked"), "{damage}: `{command}` said\n{words}");
        assert!(said.iter().any(|said| words.contains(said)), "{damage}: `{command}` does not say {said:?}\n{words}");
        assert!(Stat::of(specimen.pid()).is_none(), "{damage}: `{command}` has left a process\n{words}");
    }
}

fn comes_back(mut specimen: Specimen) {
    specimen.thaw().expect_success("thaw");
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

/// Places in every part of an image, with the part's name.
fn places(bytes: &[u8]) -> Vec<(&'static str, usize)> {
    let footer = footer(bytes);
    let [chunks_end, table, index] = [footer.chunks_end, footer.table, footer.index].map(|place| place as usize);
    let end = bytes.len() - FOOTER_LENGTH;
    let parts = [
        ("the header", 0, HEADER_LENGTH, 10),
        ("the page data", HEADER_LENGTH, chunks_end, 8),
        ("the sections", chunks_end, table, 8),
        ("the section table", table, table + footer.sections as usize * SECTION_ENTRY_LENGTH, 8),
        ("the chunk index", index, index + footer.chunks as usize * CHUNK_ENTRY_LENGTH, 6),
        ("the footer", end, bytes.len(), 10),
    ];
    let spread = |(part, from, to, count): (&'static str, usize, usize, usize)| {
        (0..count).map(move |nth| (part, from + (to - from - 1) * nth / (count - 1)))
    };
    // The numbers of the header, which hardly any spread meets.
    parts.into_iter().flat_map(spread).chain([16, 20, 24, 31].map(|place| ("the header", place))).collect()
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let mut specimen = asleep("anonymous");
    let bytes = done(fs::read(specimen.image()));
    let file = done(fs::OpenOptions::new().write(true).open(specimen.image()));
    for (nth, (part, place)) in places(&bytes).into_iter().enumerate() {
        done(file.write_all_at(&[bytes[place] ^ 1 << (nth % 8)], place as u64));
        let said = ["is damaged", "is not an image", "is cut short", "needs a newer Dormouse"];
        told_of(&mut specimen, &format!("bit {} of byte {place}, {part}", nth % 8), &said);
        done(file.write_all_at(&bytes[place..=place], place as u64));
    }
    comes_back(specimen);
}

#[test]
fn an_image_without_its_end_is_cut_short() {
    let mut specimen = asleep("pipe");
    let bytes = done(fs::read(specimen.image()));
    let footer = footer(&bytes);
    let lengths = [0, 5, 16, 4095, 4096, footer.chunks_end, footer.table, footer.index, bytes.len() as u64 - 1];
    let file = done(fs::OpenOptions::new().write(true).open(specimen.image()));
    for length in lengths {
        done(file.set_len(length));
        told_of(&mut specimen, &format!("cut to {length} bytes"), &["is cut short", "is not an image"]);
        done(file.write_all_at(&bytes, 0));
    }
    done(file.write_all_at(b"more", bytes.len() as u64));
    told_of(&mut specimen, "four bytes more", &["4 bytes stand behind it"]);
    done(file.set_len(bytes.len() as u64));
    comes_back(specimen);
}

#[test]
fn every_damaged_chunk_is_told_with_whose_memory_it_held() {
    let specimen = asleep("copy_on_write");
    let (bytes, image) = (done(fs::read(specimen.image())), specimen.image());
    let reader = Reader::open(&image).unwrap_or_else(|error| panic!("{error}"));
    let group: Group = reader.section(SectionKind::Group).unwrap_or_else(|error| panic!("{error}"));
    let file = done(fs::OpenOptions::new().write(true).open(&image));
    // A byte in every page: whichever chunks there are, each is hit.
    for page in (HEADER_LENGTH..footer(&bytes).chunks_end as usize).step_by(4096) {
        done(file.write_all_at(&[!bytes[page]], page as u64));
    }
    let outcome = verified(&specimen);
    let words = outcome.words();
    assert_eq!(outcome.status.code(), Some(1), "{words}");
    assert!(reader.chunks() > 1, "there is one chunk only");
    for chunk in 0..reader.chunks() {
        assert!(
            words.contains(&format!("the page data of chunk {chunk} at byte")),
            "chunk {chunk} is not named:\n{words}"
        );
    }
    for process in &group.processes {
        let alive = process.alive().unwrap_or_else(|| panic!("{} has ended", process.shown()));
        let mut stored = alive
            .memory
            .mappings
            .iter()
            .filter(|mapping| mapping.pages.iter().any(|run| matches!(run.source, Source::Stored(_))));
        if stored.next().is_some() {
            assert!(words.contains(&process.shown().to_string()), "{} is not named:\n{words}", process.shown());
        }
    }
    assert!(words.contains("0x7f"), "no address is named:\n{words}");

    // Sections too, beside the chunks.
    let (table, sections) = (footer(&bytes).table as usize, footer(&bytes).sections as usize);
    for entry in bytes[table..].chunks_exact(SECTION_ENTRY_LENGTH).take(sections) {
        let entry = SectionEntry::decode(entry).unwrap_or_else(|fault| panic!("{fault}"));
        done(file.write_all_at(&[!bytes[entry.offset as usize]], entry.offset));
    }
    let words = verified(&specimen).words();
    for part in ["the section `group`", "the section `origin`", "the page data of chunk 0"] {
        assert!(words.contains(part), "{part} is not named:\n{words}");
    }
    done(file.write_all_at(&bytes, 0));
    comes_back(specimen);
}

#[test]
fn a_thaw_that_fails_in_the_memory_leaves_no_file_of_a_socket() {
    let mut specimen = asleep("unix_names");
    let place = specimen.image().with_file_name("stage");
    let files = || -> BTreeSet<OsString> {
        done(fs::read_dir(&place)).filter_map(Result::ok).map(|entry| entry.file_name()).collect()
    };
    let socket = |name: &OsString| done(fs::symlink_metadata(place.join(name))).file_type().is_socket();
    // What the thaw has to make: as after a restart that has emptied the folder.
    let sockets: Vec<OsString> = files().into_iter().filter(|name| socket(name)).collect();
    assert!(sockets.len() >= 3, "{sockets:?}");
    for name in &sockets {
        done(fs::remove_file(place.join(name)));
    }
    let before = files();
    let bytes = done(fs::read(specimen.image()));
    let file = done(fs::OpenOptions::new().write(true).open(specimen.image()));
    done(file.write_all_at(&[!bytes[HEADER_LENGTH]], HEADER_LENGTH as u64));
    told_of(&mut specimen, "the first byte of the page data", &["is damaged"]);
    assert_eq!(files(), before, "the thaw that failed has left something");
    done(file.write_all_at(&bytes, 0));
    comes_back(specimen);
}
