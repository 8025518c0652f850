//! There is no place for the image: the freeze says so, the group runs on untouched, and no file is left.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

use harness::command::{self, Outcome};
use harness::specimen::Answer;
use harness::{Program, Specimen, User};

use crate::{ZOO, done};

/// A running group, and a folder of its own for images.
struct Awake {
    specimen: Specimen,
    group: BTreeSet<i32>,
    folder: PathBuf,
}

impl Awake {
    fn start() -> Self {
        mount_for_us_alone();
        let mut specimen = Specimen::start(Path::new(ZOO), &Program::named("anonymous"), User::Root);
        specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
        let folder = specimen.image().with_file_name("images");
        done(fs::create_dir(&folder));
        Self { group: specimen.members(), specimen, folder }
    }

    fn freeze(&self, image: &Path) -> Outcome {
        let pid = self.specimen.pid().to_string();
        let notes = self.specimen.image().with_file_name("notes");
        done(fs::create_dir_all(&notes));
        command::run(&["freeze", &pid, "-o", &image.to_string_lossy()], &notes, || {})
    }

    /// A freeze into this file must fail with these words, and change nothing.
    fn cannot_freeze(&mut self, image: &Path, words: &[&str]) {
        let before = listing(&self.folder);
        let outcome = self.freeze(image);
        let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(outcome.status.code(), Some(1), "the freeze into {} ended so:\n{said}", image.display());
        for word in words.iter().chain(&["runs on"]) {
            assert!(said.contains(word), "the message does not say `{word}`:\n{said}");
        }
        assert_eq!(listing(&self.folder), before, "the freeze has left a file, or taken one");
        self.specimen.assert_awake(&self.group);
    }

    fn ends_well(mut self) {
        assert_eq!(self.specimen.go(), Answer::Ok);
        self.specimen.assert_ends();
    }
}

fn listing(folder: &Path) -> BTreeSet<(String, u64)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), done(entry.metadata()).len())).collect()
}

/// What this thread and its children mount from now on is seen by nobody else, and goes with them.
fn mount_for_us_alone() {
    // SAFETY: takes numbers only.
    let alone = unsafe { libc::unshare(libc::CLONE_NEWNS) };
    assert_eq!(alone, 0, "unshare: {}", std::io::Error::last_os_error());
    mount(Path::new("/"), None, libc::MS_REC | libc::MS_PRIVATE);
}

/// Mounts a filesystem in memory, or changes what is mounted there.
fn mount(on: &Path, size: Option<u64>, flags: libc::c_ulong) {
    let on = CString::new(on.to_string_lossy().as_bytes()).unwrap_or_default();
    let options = CString::new(size.map_or_else(String::new, |size| format!("size={size}"))).unwrap_or_default();
    let data = if size.is_some() { options.as_ptr().cast() } else { std::ptr::null() };
    // SAFETY: the texts live through the call.
    let mounted = unsafe { libc::mount(c"none".as_ptr(), on.as_ptr(), c"tmpfs".as_ptr(), flags, data) };
    assert_eq!(mounted, 0, "mount: {}", std::io::Error::last_os_error());
}

#[test]
fn a_disk_that_is_full_stops_a_freeze_wherever_it_is() {
    let mut awake = Awake::start();
    // The image once, to know how much is too little; the group comes back from it.
    let whole = awake.specimen.image();
    awake.freeze(&whole).expect_success("freeze");
    awake.specimen.assert_asleep(&awake.group);
    awake.specimen.thaw().expect_success("thaw");
    let size = done(fs::metadata(&whole)).len();
    let folder = awake.folder.clone();
    mount(&folder, Some(1 << 30), 0);
    // From no room for anything to no room for the last tables.
    for room in [4096, size / 4, size / 2, size / 16 * 15] {
        mount(&folder, Some(room / 4096 * 4096), libc::MS_REMOUNT);
        let image = folder.join("full.dormouse");
        awake.cannot_freeze(&image, &["no room", &image.to_string_lossy(), "Free space on that disk"]);
    }
    mount(&folder, Some(size * 2), libc::MS_REMOUNT);
    awake.freeze(&folder.join("fits.dormouse")).expect_success("freeze");
    awake.specimen.assert_asleep(&awake.group);
    done(fs::rename(&whole, whole.with_extension("old")));
    done(fs::copy(folder.join("fits.dormouse"), &whole));
    awake.specimen.thaw().expect_success("thaw");
    awake.ends_well();
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let mut awake = Awake::start();
    let folder = awake.folder.clone();
    mount(&folder, Some(1 << 20), libc::MS_RDONLY);
    awake.cannot_freeze(&folder.join("x.dormouse"), &[&folder.to_string_lossy(), "Read-only", "Choose a folder"]);
    awake.ends_well();
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let mut awake = Awake::start();
    let folder = awake.folder.join("none");
    awake.cannot_freeze(&folder.join("x.dormouse"), &[&folder.to_string_lossy(), "does not exist", "Make the folder"]);
    let file = awake.folder.join("file");
    done(fs::write(&file, "no folder"));
    awake.cannot_freeze(&file.join("x.dormouse"), &[&file.to_string_lossy(), "Not a directory"]);
    awake.ends_well();
}

#[test]
fn a_file_that_is_there_already_stays() {
    let mut awake = Awake::start();
    let (file, link) = (awake.folder.join("mine"), awake.folder.join("link"));
    done(fs::write(&file, "somebody's"));
    done(std::os::unix::fs::symlink("nowhere", &link));
    for there in [&file, &link, &awake.folder.clone()] {
        awake.cannot_freeze(there, &[&there.to_string_lossy(), "exists already", "Choose another name"]);
    }
    assert_eq!(done(fs::read_to_string(&file)), "somebody's");
    awake.ends_well();
}

/// The usual folder of images is on a disk with too little room for copies of programs beside them.
#[test]
fn where_there_is_no_room_for_copies_there_are_none() {
    let mut awake = Awake::start();
    let folder = Path::new("/var/lib/dormouse");
    done(fs::create_dir_all(folder));
    mount(folder, Some(64 << 20), 0);
    let image = awake.specimen.image();
    let outcome = awake.freeze(&image);
    outcome.expect_success("freeze");
    let said = outcome.words();
    assert!(said.contains("there would be too little room left on the disk"), "{said}");
    awake.specimen.assert_asleep(&awake.group);
    let objects = fs::read_dir(folder.join("kept/objects")).into_iter().flatten().count();
    assert_eq!(objects, 0, "something was kept all the same");
    awake.specimen.thaw().expect_success("thaw");
    awake.ends_well();
}
