//! Packages that are upgraded while a whole sandbox sleeps: copies of its programs and libraries take their places, under the names that
//! they have within.

use std::fs;
use std::path::{Path, PathBuf};

use harness::packaged::{RIGHT, fill, forget, kept, upgrade};
use harness::wait::{PATIENCE, until};
use harness::{Job, User};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statvfs::statvfs;

use crate::{bwrap, fall_asleep, fall_asleep_with, image, init, run, wake_up};

/// A program in bubblewrap with its folder, which is at `/work/home` for it.
fn awake(user: User, more: &[&str]) -> (Job, PathBuf) {
    let program = ["env", "PYTHONHOME=/usr", "/work/home/program", "/work/script.py", "/work/home", "/work"];
    let mut job = Job::start("bwrap", user, |folder| {
        fill(folder, user);
        bwrap(folder, more, &program)
    });
    job.wait_for("ready");
    let home = job.specimen().folder().join("home");
    (job, home)
}

/// Ends well, with the copies under the old names.
fn assert_right(job: &mut Job) {
    job.make("go");
    let right = format!("{RIGHT}log two three\nwhere /work/home/log\n");
    let said = until(PATIENCE, || (job.said() == right).then_some(()));
    assert!(said.is_some(), "{}{}", job.said(), job.specimen().errors());
}

fn goes_on_with_copies(user: User, more: &[&str]) {
    let (mut job, home) = awake(user, more);
    let folder = job.specimen().folder();
    fall_asleep(&mut job, init(&folder));
    let upgraded = upgrade(&home);
    wake_up(&mut job);
    // And once more, now that it runs from the copies.
    fall_asleep(&mut job, init(&folder));
    wake_up(&mut job);
    assert_right(&mut job);
    assert_eq!(fs::read(home.join("library.so")).ok(), Some(upgraded), "what is there stays");
    assert!(!home.join("program").exists());
}

#[test]
fn a_package_that_is_upgraded_does_not_matter_to_a_sandbox() {
    goes_on_with_copies(User::Root, &[]);
}

#[test]
fn a_package_that_is_upgraded_does_not_matter_to_a_sandbox_with_a_user_namespace() {
    goes_on_with_copies(User::Root, &["--unshare-user", "--cap-drop", "ALL"]);
}

#[test]
fn a_package_that_is_upgraded_does_not_matter_to_a_sandbox_of_an_ordinary_user() {
    goes_on_with_copies(User::Ordinary, &["--unshare-user"]);
}

/// It runs from copies, which are there: on a disk that is nearly full no others are needed, and without them it is not frozen.
#[test]
fn who_runs_from_copies_sleeps_again_where_there_is_no_room_for_others() {
    alone_with_a_small_disk();
    let (mut job, home) = awake(User::Root, &[]);
    let folder = job.specimen().folder();
    fall_asleep(&mut job, init(&folder));
    let library = fs::read(home.join("library.so")).unwrap_or_default();
    upgrade(&home);
    wake_up(&mut job);
    fill_disk();
    fall_asleep(&mut job, init(&folder));
    wake_up(&mut job);
    let copy = kept(&library).unwrap_or_else(|| panic!("it is not kept"));
    fs::remove_file(&copy).unwrap_or_else(|error| panic!("{error}"));
    let image = image(&mut job);
    let refused = run(&mut job, &["freeze", &init(&folder).to_string(), "-o", &image]);
    let said = refused.words();
    assert!(!refused.status.success() && said.contains("no copy of it could be kept"), "{said}");
    assert!(said.contains("/work/home/library.so") && said.contains("runs on"), "{said}");
    assert_right(&mut job);
}

/// The store of root is on a disk of its own, for this test alone.
fn alone_with_a_small_disk() {
    let none: Option<&str> = None;
    let alone = unshare(CloneFlags::CLONE_NEWNS).and_then(|()| {
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(Some("none"), "/var/lib/dormouse", Some("tmpfs"), MsFlags::empty(), Some("mode=700,size=200m"))
    });
    alone.unwrap_or_else(|errno| panic!("{errno}"));
}

/// Leaves less on it than has to be left.
fn fill_disk() {
    let found = statvfs("/var/lib/dormouse").unwrap_or_else(|errno| panic!("{errno}"));
    let free = found.blocks_available() * found.fragment_size();
    let filler = vec![1; free as usize - (50 << 20)];
    fs::write("/var/lib/dormouse/filler", filler).unwrap_or_else(|error| panic!("{error}"));
}

/// As on another machine: neither the image nor the copy of the library is there.
#[test]
fn a_bundle_takes_along_what_a_sandbox_has_mapped() {
    let _alone = harness::alone::with_images_of_root();
    let (mut job, home) = awake(User::Root, &[]);
    let folder = job.specimen().folder();
    fall_asleep(&mut job, init(&folder));
    let (image, bundle) = (image(&mut job), folder.join("sandbox.dormouse-bundle").display().to_string());
    run(&mut job, &["export", &image, "--output", &bundle]).expect_success("export");
    let told = run(&mut job, &["inspect", "--json", &bundle]).said;
    for name in ["/work/home/program", "/work/home/library.so", "libc.so.6"] {
        assert!(told.contains(name), "{name} is not in the bundle:\n{told}");
    }
    let library = fs::read(home.join("library.so")).unwrap_or_default();
    upgrade(&home);
    while let Some(object) = kept(&library) {
        fs::remove_file(&object).unwrap_or_else(|error| panic!("{}: {error}", object.display()));
    }
    let elsewhere = format!("{image}.elsewhere");
    fs::rename(&image, &elsewhere).unwrap_or_else(|error| panic!("{image}: {error}"));
    let refused = run(&mut job, &["thaw", &elsewhere]);
    assert!(!refused.status.success() && refused.words().contains("/work/home/library.so"), "{}", refused.said);
    run(&mut job, &["thaw", &bundle]).expect_success("thaw");
    assert_right(&mut job);
    forget(&Path::new(&image).file_stem().unwrap_or_default().to_string_lossy());
}

#[test]
fn a_bundle_of_a_sandbox_without_copies_is_refused() {
    let (mut job, _) = awake(User::Root, &[]);
    let folder = job.specimen().folder();
    fall_asleep_with(&mut job, init(&folder), &["--keep", "none"]);
    let (image, bundle) = (image(&mut job), folder.join("sandbox.dormouse-bundle").display().to_string());
    let told = run(&mut job, &["export", &image, "--output", &bundle]);
    assert!(!told.status.success() && !folder.join("sandbox.dormouse-bundle").exists());
    for word in ["no copy of it was kept", "freeze it again without --keep none"] {
        assert!(told.words().contains(word), "{word}: {}", told.said);
    }
    wake_up(&mut job);
    assert_right(&mut job);
}
