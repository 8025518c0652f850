//! Making images: round trips, and what is said when none can be made.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use dormouse_wire::{Compression, ProblemKind, Progress, Quiet};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{
    ImageError, PAGE, PageBuffer, PageNumber, Reader, SectionKind, Writer, noise, place, put, read_all, small, text,
};
use crate::image::{CHUNK_BYTES, CHUNK_PAGES};

#[test]
fn what_goes_in_comes_out() {
    let (folder, path) = place();
    let chunks = small(&path);
    let reader = Reader::open(&path).expect("it opens");
    assert_eq!(reader.section::<Vec<String>>(SectionKind::Group).expect("a group"), ["one", "two"]);
    assert_eq!(reader.section::<u8>(SectionKind::Origin).expect("an origin"), 42);
    assert_eq!(reader.optional_section::<u8>(SectionKind::Losses).expect("nothing is wrong"), None);
    let mut buffer = PageBuffer::new();
    assert_eq!(read_all(&path, &mut buffer).expect("chunks"), chunks);
    assert_eq!(reader.read_page(PageNumber(257), &mut buffer).expect("a page"), &chunks[1][PAGE..2 * PAGE]);
    assert_eq!((reader.chunks(), reader.pages(), reader.stored().0), (2, 4, 2 * PAGE as u64));
    assert!(reader.verify(&Quiet).expect("nobody cancels").is_none());
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).expect("a listing").count(), 1);
}

#[test]
fn an_image_is_as_small_as_was_asked_for_and_holds_the_same() {
    // To a good half: too little for a group that waits.
    let chunk: Vec<u8> = noise(CHUNK_BYTES / 2, 3).into_iter().chain(text(CHUNK_BYTES / 2)).collect();
    let stored = Compression::ALL.map(|compression| {
        let (_folder, path) = place();
        let writer = Writer::compressing(&path, compression).expect("an image begins");
        put(&writer, &chunk).expect("pages are taken");
        writer.seal().expect("it is sealed");
        assert_eq!(read_all(&path, &mut PageBuffer::new()).expect("chunks"), std::slice::from_ref(&chunk));
        Reader::open(&path).expect("it opens").stored().0 as usize
    });
    let [none, fast, small] = stored;
    assert_eq!((none, fast), (CHUNK_BYTES, CHUNK_BYTES));
    assert!(small < CHUNK_BYTES * 5 / 8, "{small} bytes");
}

#[test]
fn an_image_without_pages_or_sections_is_whole() {
    let (_folder, path) = place();
    Writer::create(&path).expect("an image begins").seal().expect("it is sealed");
    let reader = Reader::open(&path).expect("it opens");
    assert!(reader.verify(&Quiet).expect("nobody cancels").is_none());
    assert_eq!((reader.chunks(), reader.sections().len(), reader.chunk_pages(0)), (0, 0, 0));
    let missing = reader.section::<u8>(SectionKind::Group).expect_err("there is none");
    assert!(missing.to_string().ends_with("has no section `group`"), "{missing}");
    assert!(matches!(reader.read_chunk(0, &mut PageBuffer::new()), Err(ImageError::NoChunk { chunk: 0, .. })));
}

#[test]
fn many_threads_write_chunks_that_do_not_mix() {
    let (_folder, path) = place();
    let writer = Writer::create(&path).expect("an image begins");
    let mut numbers = thread::scope(|scope| {
        let threads: Vec<_> = (1..5)
            .map(|seed| {
                let writer = &writer;
                scope.spawn(move || {
                    [0, 1, 2].map(|turn| (put(writer, &noise(CHUNK_BYTES, seed * 16 + turn)), seed * 16 + turn))
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no thread panics")).collect::<Vec<_>>()
    });
    writer.seal().expect("it is sealed");
    let reader = Reader::open(&path).expect("it opens");
    assert_eq!(reader.chunks(), 12);
    let mut buffer = PageBuffer::new();
    for (number, seed) in numbers.drain(..) {
        let chunk = number.expect("a number").chunk();
        assert_eq!(reader.read_chunk(chunk, &mut buffer).expect("a chunk"), noise(CHUNK_BYTES, seed));
    }
}

#[test]
fn a_run_of_pages_is_there_when_one_chunk_has_all_of_them() {
    let (_folder, path) = place();
    small(&path);
    let reader = Reader::open(&path).expect("it opens");
    let there = [(0, 1), (256, 3), (257, 2), (258, 1)];
    let not_there = [(0, 0), (0, 2), (1, 1), (256, 4), (258, 2), (259, 1), (512, 1), (u64::MAX, 1), (0, usize::MAX)];
    assert!(there.iter().all(|&(first, pages)| reader.has_pages(PageNumber(first), pages)));
    assert!(!not_there.iter().any(|&(first, pages)| reader.has_pages(PageNumber(first), pages)));
}

#[test]
fn nothing_stays_of_an_image_that_was_not_sealed() {
    let (folder, path) = place();
    let writer = Writer::create(&path).expect("an image begins");
    put(&writer, &noise(PAGE, 1)).expect("pages are taken");
    drop(writer.sync().expect("it is synced"));
    assert_eq!(fs::read_dir(folder.path()).expect("a listing").count(), 0);
}

#[test]
fn a_chunk_of_no_pages_or_too_many_is_refused_and_the_image_with_it() {
    let (_folder, path) = place();
    for pages in [0, CHUNK_PAGES + 1, usize::MAX] {
        let writer = Writer::create(&path).expect("an image begins");
        let mut buffer = PageBuffer::new();
        buffer.set_len(pages);
        assert!(matches!(writer.pages().put(&mut buffer), Err(ImageError::TooLarge { .. })));
        buffer.set_len(1);
        assert!(matches!(writer.pages().put(&mut buffer), Err(ImageError::Unfinished { .. })));
        assert!(matches!(writer.seal(), Err(ImageError::Unfinished { .. })));
    }
}

#[test]
fn a_section_is_written_once() {
    let (_folder, path) = place();
    let mut writer = Writer::create(&path).expect("an image begins");
    writer.section(SectionKind::Group, &1).expect("the first");
    let error = writer.section(SectionKind::Group, &2).expect_err("the second");
    assert!(error.to_string().contains("`group`"), "{error}");
}

#[test]
fn a_place_where_no_image_can_be_made_is_named() {
    let (folder, path) = place();
    fs::write(&path, "").expect("a file");
    std::os::unix::fs::symlink("nowhere", folder.path().join("link")).expect("a link");
    let expect = [
        (path.clone(), ProblemKind::File, "exists already"),
        (folder.path().join("link"), ProblemKind::File, "exists already"),
        (folder.path().join("none/image"), ProblemKind::File, "does not exist"),
        (path.join("image"), ProblemKind::File, "cannot open the folder"),
        (Path::new("/").to_owned(), ProblemKind::File, "does not name a file"),
        (folder.path().join(".."), ProblemKind::File, "does not name a file"),
        (Path::new("/proc/image").to_owned(), ProblemKind::File, "cannot "),
        (folder.path().join("x".repeat(256)), ProblemKind::File, "cannot create"),
    ];
    for (path, kind, what) in expect {
        let problem = Writer::create(&path).expect_err("it cannot be made").problem();
        assert!(problem.kind == kind && problem.what.contains(what), "{problem}");
        assert!(problem.way_out.is_some() || path.starts_with("/proc"), "{problem}");
    }
}

/// Runs on a thread of its own, with a filesystem of a few pages that only this thread sees.
fn on_small_disk(options: &str, work: impl FnOnce(&Path) + Send) {
    let folder = tempfile::tempdir().expect("a folder");
    thread::scope(|scope| {
        let job = || {
            unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace: the tests run as root");
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
                .expect("private");
            mount(Some("small"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some(options)).expect("a tmpfs");
            work(folder.path());
        };
        scope.spawn(job).join().expect("the work is done");
    });
}

#[test]
fn a_full_disk_is_told_as_no_room() {
    on_small_disk("size=4m", |folder| {
        let path = folder.join("image");
        let writer = Writer::create(&path).expect("an image begins");
        for turn in 0..3 {
            put(&writer, &noise(CHUNK_BYTES, turn + 1)).expect("it fits");
        }
        let error = put(&writer, &noise(CHUNK_BYTES, 9)).expect_err("the fourth does not fit beside the header");
        assert_eq!(error.problem().kind, ProblemKind::Space, "{error}");
        assert!(matches!(writer.seal(), Err(ImageError::Unfinished { .. })));
        assert_eq!(fs::read_dir(folder).expect("a listing").count(), 0);

        let mut writer = Writer::create(&path).expect("the room is free again");
        writer.section(SectionKind::Group, &serde_bytes::Bytes::new(&noise(5 << 20, 1))).expect("it is kept in memory");
        let error = writer.seal().expect_err("it does not fit");
        assert_eq!(error.problem().kind, ProblemKind::Space, "{error}");
    });
}

#[test]
fn a_disk_full_of_files_is_told_as_no_room() {
    on_small_disk("nr_inodes=2", |folder| {
        fs::write(folder.join("a"), "").expect("the last file");
        let error = Writer::create(&folder.join("image")).expect_err("there is no file left");
        assert_eq!(error.problem().kind, ProblemKind::Space, "{error}");
    });
}

#[test]
fn a_check_can_be_cancelled() {
    struct Impatient;
    impl Progress for Impatient {
        fn begins(&self, _phase: dormouse_wire::Phase, _bytes: u64) {}
        fn moved(&self, _bytes: u64) {}
        fn cancelled(&self) -> bool {
            true
        }
    }
    let (_folder, path) = place();
    small(&path);
    let answer = Reader::open(&path).expect("it opens").verify(&Impatient);
    assert_eq!(answer.expect_err("it was cancelled").problem().kind, ProblemKind::Cancelled);
}

/// The lines that hexdump(1) with `-C` shows of some bytes; equal ones are left out.
fn hexdump(bytes: &[u8]) -> String {
    let mut dump = String::new();
    let mut last: Option<&[u8]> = None;
    for (number, line) in bytes.chunks(16).enumerate() {
        if last == Some(line) {
            if !dump.ends_with("*\n") {
                dump.push_str("*\n");
            }
            continue;
        }
        let half = |range: std::ops::Range<usize>| {
            let bytes: Vec<_> =
                line.iter().skip(range.start).take(range.len()).map(|byte| format!("{byte:02x}")).collect();
            bytes.join(" ")
        };
        let shown: String =
            line.iter().map(|&byte| if (0x20..0x7f).contains(&byte) { char::from(byte) } else { '.' }).collect();
        let line_of_dump = format!("{:08x}  {:23}  {:23}  |{shown}|\n", number * 16, half(0..8), half(8..16));
        dump.push_str(&line_of_dump);
        last = Some(line);
    }
    format!("{dump}{:08x}\n", bytes.len())
}

#[test]
fn the_image_in_format_md_is_what_is_written() {
    let (_folder, path) = place();
    let mut writer = Writer::create(&path).expect("an image begins");
    put(&writer, &[0x5a; PAGE]).expect("pages are taken");
    writer.section(SectionKind::Group, &vec!["one", "two"]).expect("a section is taken");
    writer.seal().expect("it is sealed");
    let dump = hexdump(&fs::read(&path).expect("it can be read"));
    assert!(include_str!("../../../../FORMAT.md").contains(&dump), "core/FORMAT.md should show\n{dump}");
}

/// Pages of a kind: noise, text, or noise that begins like text.
fn chunk() -> impl Strategy<Value = Vec<u8>> {
    (1..=CHUNK_PAGES, 0..3, any::<u64>()).prop_map(|(pages, kind, seed)| {
        let length = pages * PAGE;
        match kind {
            0 => noise(length, seed),
            1 => text(length),
            _ => [text(length / 2), noise(length - length / 2, seed)].concat(),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_chunks_go_in_come_out(chunks in vec(chunk(), 0..6), group in vec(".{0,9}", 0..99)) {
        let (_folder, path) = place();
        let mut writer = Writer::create(&path).expect("an image begins");
        for chunk in &chunks {
            put(&writer, chunk).expect("pages are taken");
        }
        writer.section(SectionKind::Group, &group).expect("a section is taken");
        writer.seal().expect("it is sealed");
        prop_assert_eq!(read_all(&path, &mut PageBuffer::new()).expect("chunks"), chunks);
        let reader = Reader::open(&path).expect("it opens");
        prop_assert_eq!(reader.section::<Vec<String>>(SectionKind::Group).expect("a group"), group);
    }
}
