//! Users and groups that have other numbers where a group is thawed than where it was frozen: `thaw --users` and `--user` lead all that it
//! is and holds to the right people, and nobody becomes somebody else unasked. Who has which number is said by files of the tests' own, in a
//! mount namespace of each test.
#![allow(missing_docs, clippy::panic)]

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::process::Command;

use harness::command::Outcome;
use harness::{Job, User};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Holds what belongs to somebody, and says in the end whether all of it belongs to whom it is told: `USER GROUP FRIENDS`.
const HOLDER: &str = include_str!("owners/holder.py");
/// Lives in a sandbox of a user who is root in it.
const INSIDE: &str = include_str!("owners/inside.py");

/// Lives in a user namespace of Anna's, with a range of numbers beside her own.
const RANGES: &str = include_str!("owners/ranges.py");

/// Where the group is frozen.
const THERE: (&str, &str) = ("anna:x:61210:61211::/:/bin/sh\n", "anna:x:61211:\nfriends:x:61212:anna\nweb:x:61213:\n");
/// Where it is thawed: the same people by other numbers, and somebody else by one of theirs.
const HERE: (&str, &str) = (
    "eve:x:61210:61211::/:/bin/sh\nanna:x:61220:61221::/:/bin/sh\n",
    "eve:x:61211:\nanna:x:61221:\nfriends:x:61222:anna\nweb:x:61223:\nmallory:x:61213:\n",
);

fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// Has users and groups of its own: those of the system, and these.
fn know(folder: &Path, (users, groups): (&str, &str)) {
    for (name, more) in [("passwd", users), ("group", groups)] {
        let (system, own) = (Path::new("/etc").join(name), folder.join(name));
        let known = done(fs::read_to_string(&system));
        let known =
            known.lines().filter(|line| !line.contains(":612")).fold(String::new(), |all, line| all + line + "\n");
        done(fs::write(&own, known + more));
        done(mount(Some(&own), &system, None::<&str>, MsFlags::MS_BIND, None::<&str>));
    }
}

/// This thread, and whoever it starts, sees mounts of its own from now on.
fn apart() {
    done(unshare(CloneFlags::CLONE_NEWNS));
    done(mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>));
}

/// A program of Anna's with all that it holds, asleep; with its folder.
fn asleep() -> (Job, BTreeSet<i32>) {
    apart();
    let mut job = Job::start("holder", User::Root, |folder| {
        know(folder, THERE);
        let home = folder.join("home");
        done(fs::create_dir(&home));
        done(std::os::unix::fs::chown(&home, Some(61_210), Some(61_211)));
        done(fs::write(folder.join("holder.py"), HOLDER));
        let mut command = Command::new("python3");
        command.arg(folder.join("holder.py")).arg(home).arg(folder);
        command
    });
    job.wait_for("ready");
    // Her socket is for the group of the web server, which she is not in.
    let socket = job.specimen().folder().join("home/socket");
    done(std::os::unix::fs::lchown(socket, None, Some(61_213)));
    let group = job.specimen().members();
    // What it would undo of its semaphores is.
    job.specimen().freeze_with(&["--accept-losses"]).expect_success("freeze");
    job.specimen().assert_asleep(&group);
    let home = job.specimen().folder().join("home");
    // Another machine has nothing of her.
    let left = done(fs::read_to_string(home.join("left")));
    assert!(done(Command::new("ipcrm").args(left.split_whitespace()).status()).success());
    let queue = done(CString::new(format!("/owners-{}", job.specimen().pid())));
    // SAFETY: a string that ends.
    assert_eq!(unsafe { libc::mq_unlink(queue.as_ptr()) }, 0);
    // Her files come there by names.
    for entry in done(fs::read_dir(&home)).flatten() {
        done(std::os::unix::fs::lchown(entry.path(), Some(61_220), Some(61_221)));
    }
    done(std::os::unix::fs::chown(&home, Some(61_220), Some(61_221)));
    know(&job.specimen().folder(), HERE);
    (job, group)
}

fn words(outcome: &Outcome) -> String {
    outcome.said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The thaw says no, with these words; no process is left.
fn refused(job: &mut Job, group: &BTreeSet<i32>, options: &[&str], told: &[&str]) {
    let outcome = job.specimen().thaw_with(options);
    let said = words(&outcome);
    assert!(!outcome.status.success(), "{options:?}: it was thawed");
    for word in told {
        assert!(said.contains(word), "{options:?}: the refusal does not say `{word}`:\n{}", outcome.said);
    }
    job.specimen().assert_asleep(group);
}

/// It is thawed, and all belongs to these.
fn belongs_to(mut job: Job, group: &BTreeSet<i32>, options: &[&str], whom: &str) {
    let outcome = job.specimen().thaw_with(options);
    outcome.expect_success("thaw");
    job.specimen().assert_awake(group);
    done(fs::write(job.specimen().folder().join("whom"), whom));
    job.make("go");
    assert_eq!(job.end(), "ready\nright True\n", "{}", outcome.said);
}

#[test]
fn nobody_becomes_somebody_else_unasked_and_names_lead_to_the_right_ones() {
    let (mut job, group) = asleep();
    let told = [
        "user 61210 of the image was called anna, and anna is user 61220 here",
        "group 61211 of the image was called anna, and anna is group 61221 here",
        "group 61212 of the image was called friends, and friends is group 61222 here",
        "group 61213 of the image was called web, and web is group 61223 here",
        "--users by-name",
    ];
    refused(&mut job, &group, &[], &told);
    refused(
        &mut job,
        &group,
        &["--user", "eve=anna"],
        &["the image speaks of no user eve", "anna (61210)", "root (0)"],
    );
    refused(
        &mut job,
        &group,
        &["--users", "by-name", "--user", "anna=nobody-at-all"],
        &["there is no user nobody-at-all here"],
    );
    refused(&mut job, &group, &["--users", "by-name", "--user", "anna=root"], &["would both be user 0 here"]);
    for text in ["anna", "=anna", "anna="] {
        let outcome = job.specimen().thaw_with(&["--user", text]);
        assert_eq!(outcome.status.code(), Some(2), "{text}: {}", outcome.said);
    }
    belongs_to(job, &group, &["--users", "by-name"], "61220 61221 61222 61223");
}

#[test]
fn who_takes_whose_place_can_be_said_one_by_one() {
    let (mut job, group) = asleep();
    know(
        &job.specimen().folder(),
        ("eve:x:61210:61211::/:/bin/sh\n", "eve:x:61211:\nfriends:x:61222:\nweb:x:61223:\n"),
    );
    let told = [
        "here 61210 is eve, and nobody is called anna",
        "here 61211 is eve, and none is called anna",
        "--group anna=NAME",
    ];
    refused(&mut job, &group, &["--users", "by-name"], &told);
    let said = ["--users", "by-name", "--user", "anna=61220", "--group", "61211=61221"];
    belongs_to(job, &group, &said, "61220 61221 61222 61223");
}

#[test]
fn numbers_count_where_that_is_wished() {
    let (mut job, group) = asleep();
    let home = job.specimen().folder().join("home");
    for entry in done(fs::read_dir(&home)).flatten() {
        done(std::os::unix::fs::lchown(entry.path(), Some(61_210), Some(61_211)));
    }
    done(std::os::unix::fs::chown(&home, Some(61_210), Some(61_211)));
    belongs_to(job, &group, &["--users", "as-they-are"], "61210 61211 61212 61213");
}

/// An image of Anna's own, whose thaw is judged by who she is here.
#[test]
fn an_image_of_her_own_is_hers_here_too() {
    let (mut job, group) = asleep();
    let image = job.specimen().image();
    done(std::os::unix::fs::chown(&image, Some(61_220), Some(61_221)));
    let said = ["--users", "as-they-are"];
    refused(&mut job, &group, &said, &["belongs to user 61220, and holds what belongs to user 61210"]);
    let outcome = job.specimen().thaw_with(&["--users", "by-name"]);
    // Her friends are no group of the file.
    let said = words(&outcome);
    assert!(said.contains("has the rights of group 61222") && !said.contains("belongs to user 61210"), "{said}");
    done(std::os::unix::fs::chown(&image, Some(0), Some(0)));
    belongs_to(job, &group, &["--users", "by-name"], "61220 61221 61222 61223");
}

/// What is inside of a sandbox stays: who is root in it is led outside.
#[test]
fn who_is_root_in_a_sandbox_is_led_outside() {
    apart();
    let mut job = Job::start("inside", User::Root, |folder| {
        know(folder, THERE);
        done(fs::write(folder.join("inside.py"), INSIDE));
        done(std::os::unix::fs::chown(folder, Some(61_210), Some(61_211)));
        let script = format!(
            "mount --bind {} /srv && cd /srv && mount -t tmpfs tmpfs /tmp && mount -t tmpfs tmpfs /dev/shm && exec python3 inside.py",
            folder.display()
        );
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "chmod a+rw out err && exec \"$@\"",
            "sh",
            "setpriv",
            "--reuid",
            "61210",
            "--regid",
            "61211",
            "--clear-groups",
            "unshare",
        ]);
        command.args(["--user", "--map-root-user", "-muipn", "--fork", "--mount-proc", "sh", "-c", &script]);
        command
    });
    job.wait_for("ready");
    let (folder, image) = (job.specimen().folder(), job.specimen().image());
    let shown = image.to_string_lossy().into_owned();
    let run = |arguments: &[&str]| harness::command::run(arguments, &folder, || harness::group::reap(&BTreeSet::new()));
    run(&["freeze", &job.specimen().pid().to_string(), "--accept-losses", "-o", &shown]).expect_success("freeze");
    know(&folder, HERE);
    let refused = run(&["thaw", &shown]);
    assert!(!refused.status.success() && words(&refused).contains("anna is user 61220 here"), "{}", refused.said);
    // What it finds of the outside has come by names.
    for entry in done(fs::read_dir(&folder)).flatten() {
        done(std::os::unix::fs::lchown(entry.path(), Some(61_220), Some(61_221)));
    }
    done(std::os::unix::fs::chown(&folder, Some(61_220), Some(61_221)));
    run(&["thaw", "--users", "by-name", &shown]).expect_success("thaw");
    job.make("go");
    job.wait_for("right");
    let said = job.said();
    assert!(said.contains("right True"), "{said}{}", job.specimen().errors());
}

/// As podman has them for whoever is not root: the numbers of a sandbox that are nobody's are given to its user by subuid(5). Another machine
/// may have given them to somebody else.
#[test]
fn numbers_of_a_sandbox_that_are_given_to_somebody_else_here_are_told() {
    apart();
    let mut job = Job::start("ranges", User::Root, |folder| {
        know(folder, THERE);
        done(fs::write(folder.join("ranges.py"), RANGES));
        let mut command = Command::new("python3");
        command.arg(folder.join("ranges.py")).arg(folder);
        command
    });
    job.wait_for("ready");
    let group = job.specimen().members();
    job.specimen().freeze_with(&["--accept-losses"]).expect_success("freeze");
    job.specimen().assert_asleep(&group);
    let folder = job.specimen().folder();
    know(&folder, HERE);
    for name in ["subuid", "subgid"] {
        let (system, own) = (Path::new("/etc").join(name), folder.join(name));
        if !system.exists() {
            done(fs::write(&system, ""));
        }
        done(fs::write(&own, "anna:600000:65536\neve:400000:65536\n"));
        done(mount(Some(&own), &system, None::<&str>, MsFlags::MS_BIND, None::<&str>));
    }
    let outcome = job.specimen().thaw_with(&["--users", "by-name"]);
    outcome.expect_success("thaw");
    let said = words(&outcome);
    for file in ["/etc/subuid", "/etc/subgid"] {
        let told = format!("its sandbox has numbers 400000 to 400099, of which {file} gives some to eve here");
        assert!(said.contains(&told) && !said.contains("600000"), "{said}");
    }
    job.make("go");
    assert_eq!(job.end(), "ready\nmap 0 61220 1 1 400000 100\n");
}
