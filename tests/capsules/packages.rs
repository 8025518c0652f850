//! Packages that are upgraded while a whole sandbox sleeps: copies of its programs and libraries take their places, under the names that
//! they have within.

use std::fs;

use harness::packaged::{RIGHT, fill, upgrade};
use harness::wait::{PATIENCE, until};
use harness::{Job, User};

use crate::{bwrap, fall_asleep, init, wake_up};

fn goes_on_with_copies(user: User, more: &[&str]) {
    let program = ["env", "PYTHONHOME=/usr", "/work/home/program", "/work/script.py", "/work/home", "/work"];
    let mut job = Job::start("bwrap", user, |folder| {
        fill(folder, user);
        bwrap(folder, more, &program)
    });
    job.wait_for("ready");
    let folder = job.specimen().folder();
    let home = folder.join("home");
    fall_asleep(&mut job, init(&folder));
    let upgraded = upgrade(&home);
    wake_up(&mut job);
    // And once more, now that it runs from the copies.
    fall_asleep(&mut job, init(&folder));
    wake_up(&mut job);
    job.make("go");
    let right = format!("{RIGHT}log two three\nwhere /work/home/log\n");
    let said = until(PATIENCE, || (job.said() == right).then_some(()));
    assert!(said.is_some(), "{}{}", job.said(), job.specimen().errors());
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
