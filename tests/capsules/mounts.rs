//! Mounts, host names and control groups that only parts of a group have: a filesystem in memory that one part sees, and one further in with
//! it; bubblewrap's sandboxes beside the shell that has started them, and in one another.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ciborium::Value;
use harness::forge::{self, each, field, forged};
use harness::wait::{PATIENCE, until};
use harness::{Job, User};

use crate::inner::{goes_on_in_a_pid_namespace, job_pid, parts_of, remove};
use crate::{BWRAP, in_unshare_with, init, run, thaw_and_kill, wake_up, write};

const PROGRAM: (&str, &str) = ("mounts.py", include_str!("mounts.py"));

const ALL: &[&str] = &["private", "pids", "turned", "sandboxed"];

fn parts(kinds: &[&str]) -> Job {
    let job = Job::script(&["python3", "-ISB"], User::Root, PROGRAM, kinds).by_its_numbers();
    job.wait_for("ready");
    job
}

fn ends_right(mut job: Job) {
    job.make("go");
    assert_eq!(job.end(), "ready\nall is as it was\n");
}

fn system_mounts() -> String {
    fs::read_to_string("/proc/self/mounts").unwrap_or_default()
}

#[test]
fn mounts_and_names_of_parts_go_on() {
    let mut job = parts(ALL);
    let mounts = system_mounts();
    let pid = job_pid(&mut job);
    let checked = run(&mut job, &["check", &pid]);
    assert_eq!(checked.status.code(), Some(0), "{}", checked.said);
    job.nap_often(5);
    assert_eq!(system_mounts(), mounts);
    ends_right(job);
}

#[test]
fn mounts_of_parts_go_on_in_a_pid_namespace_of_the_group() {
    let mut job = parts(ALL);
    job.fall_asleep();
    goes_on_in_a_pid_namespace(job);
}

/// What flatpak looks like: whoever has started a sandbox, and waits for it, lives outside.
#[test]
fn a_shell_that_has_started_a_sandbox_of_bubblewrap_goes_on_with_it() {
    let mut job = Job::start("sh", User::Root, |folder| {
        write(folder, "said.py", "import os, time\nopen('/tmp/own', 'w').write('own')\nprint('ready', flush=True)\n\
            while not os.path.exists('/work/go'): time.sleep(0.05)\nprint('within', os.getpid(), open('/tmp/own').read(), os.uname().nodename, flush=True)\n");
        let folder = folder.to_string_lossy();
        let mut command = Command::new("sh");
        command.args(["-c", "\"$@\"; echo it ends with $?", "sh", "bwrap"]);
        command.args(BWRAP.iter().map(|word| if *word == "FOLDER" { folder.as_ref() } else { word }));
        command.args(["--unshare-user", "--unshare-cgroup", "--cap-drop", "ALL", "python3", "said.py"]);
        command
    })
    .by_its_numbers();
    job.wait_for("ready");
    job.nap_often(5);
    job.make("go");
    assert_eq!(job.end(), "ready\nwithin 2 own capsule\nit ends with 0\n");
}

/// The whole of it lives among mounts of its own, and these parts among others.
#[test]
fn mounts_of_parts_go_on_within_a_capsule() {
    let script = "python3 -ISB mounts.py private pids turned sandboxed";
    let mut job = in_unshare_with(&["-mpu"], script, PROGRAM);
    let mounts = system_mounts();
    for _ in 0..3 {
        let first = init(&job.specimen().folder());
        crate::fall_asleep(&mut job, first);
        wake_up(&mut job);
    }
    assert_eq!(system_mounts(), mounts);
    job.make("go");
    let said = until(PATIENCE, || job.said().contains("all is as it was").then_some(()));
    assert!(said.is_some(), "{}{}", job.said(), job.specimen().errors());
}

/// As an ordinary user makes them, one in the other.
#[test]
fn a_sandbox_of_bubblewrap_in_a_sandbox_of_bubblewrap_goes_on() {
    let mut job = Job::start("bwrap", User::Ordinary, |folder| {
        write(folder, PROGRAM.0, PROGRAM.1);
        crate::bwrap(folder, &["--unshare-user", "--unshare-cgroup"], &["python3", "-ISB", "mounts.py", "sandboxed"])
    });
    job.wait_for("ready");
    for _ in 0..3 {
        let first = init(&job.specimen().folder());
        crate::fall_asleep(&mut job, first);
        wake_up(&mut job);
    }
    job.make("go");
    let said = until(PATIENCE, || job.said().contains("all is as it was").then_some(()));
    assert!(said.is_some(), "{}{}", job.said(), job.specimen().errors());
}

#[test]
fn a_killed_thaw_leaves_no_mounts_of_parts() {
    let mut job = parts(ALL);
    let mounts = system_mounts();
    let (folder, image) = (job.specimen().folder(), job.specimen().image().to_string_lossy().into_owned());
    let frozen = job.fall_asleep();
    for moment in [0, 5, 10, 20, 40, 80, 120] {
        thaw_and_kill(&image, Duration::from_millis(moment));
        let settled = until(PATIENCE, || {
            harness::group::reap(&frozen);
            let there = parts_of(&folder, PROGRAM.0);
            (there.is_empty() || there.len() >= ALL.len() + 2).then_some(there)
        });
        let there = settled.unwrap_or_else(|| panic!("some of it are left after {moment} ms"));
        assert_eq!(system_mounts(), mounts, "after {moment} ms");
        // It may have been let go before it was killed.
        if let Some(first) = there.first() {
            let _ = fs::remove_file(&image);
            let outcome = run(&mut job, &["freeze", "--accept-losses", &first.to_string(), "-o", &image]);
            assert!(outcome.status.success(), "after {moment} ms: {}", outcome.said);
        }
    }
    goes_on_in_a_pid_namespace(job);
}

/// An image that is not root's own gets its owner no mounts.
#[test]
fn an_image_of_an_ordinary_user_makes_no_mounts_of_parts() {
    let mut job = parts(&["private"]);
    let image = job.specimen().image().to_string_lossy().into_owned();
    let frozen = job.fall_asleep();
    chown(&image, Some(1000), Some(1000)).unwrap_or_else(|error| panic!("{error}"));
    let outcome = run(&mut job, &["thaw", &image]);
    let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!outcome.status.success() && said.contains("holds namespaces"), "{said}");
    chown(&image, Some(0), Some(0)).unwrap_or_else(|error| panic!("{error}"));
    job.wake_up(&frozen);
    ends_right(job);
}

/// What is mounted from the outside must be there; what stands in the way is told before anybody is born.
#[test]
fn what_is_missing_outside_of_a_part_is_told() {
    let mut job = parts(&["private"]);
    let (folder, image) = (job.specimen().folder(), job.specimen().image().to_string_lossy().into_owned());
    let frozen = job.fall_asleep();
    let (low, away) = (folder.join("low"), folder.join("away"));
    fs::rename(&low, &away).unwrap_or_else(|error| panic!("{error}"));
    let outcome = run(&mut job, &["thaw", &image]);
    let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!outcome.status.success() && said.contains("it is to be mounted at /mnt/here/deep"), "{said}");
    // Where it has moved to can be told.
    let to = format!("{}={}", low.display(), away.display());
    let outcome = run(&mut job, &["thaw", "--map", &to, &image]);
    assert!(outcome.status.success(), "{}", outcome.said);
    remove(Path::new(&image));
    drop(frozen);
    let pid = job_pid(&mut job);
    let mounted = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let child = mounted.split_whitespace().next().unwrap_or_else(|| panic!("it has no part")).to_owned();
    let mounts = fs::read_to_string(format!("/proc/{child}/mountinfo")).unwrap_or_default();
    assert!(mounts.contains(&format!("{} /mnt/here/deep", away.display())), "{mounts}");
    job.make("go");
    let said = until(PATIENCE, || job.specimen().errors().contains("has become").then_some(()));
    assert!(said.is_some(), "the program sees what has moved: {}", job.said());
}

/// What a record can be made to say, place by place.
fn lies(value: &Value) -> Vec<Value> {
    let bytes = |text: &[u8]| Value::Bytes(text.to_vec());
    match value {
        Value::Integer(_) => vec![Value::from(0), Value::from(u64::MAX), Value::from(-1), Value::from(3)],
        Value::Text(_) => vec![Value::from("mnt"), Value::from("proc"), Value::from("ext4")],
        Value::Bytes(_) => {
            vec![bytes(b"/.."), bytes(b"/mnt/../../etc"), bytes(b"relative"), bytes(b"/tmp"), bytes(b"")]
        }
        Value::Array(items) => vec![Value::Array(Vec::new()), Value::Array([items.clone(), items.clone()].concat())],
        Value::Bool(is) => vec![Value::Bool(!is)],
        _ => vec![Value::Null],
    }
}

/// Tells the lie of this turn; whether there is one.
fn lie(group: &mut Value, turn: usize) -> bool {
    let (mut at, mut told) = (0, false);
    let mut tell = |value: &mut Value| {
        for choice in lies(value) {
            if at == turn {
                *value = choice;
                told = true;
            }
            at = if told { usize::MAX / 2 } else { at + 1 };
            if told {
                return;
            }
        }
    };
    for name in ["inner", "mounted"] {
        if let Some(value) = field(group, name) {
            each(value, &mut tell);
        }
    }
    for name in ["open_files", "mapped_files", "contents"] {
        for file in field(group, name).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(mounts) = field(file, "mounts") {
                tell(mounts);
            }
        }
    }
    told
}

/// Whether a mount, a place, a file of a filesystem or the list of namespaces itself lies: it is refused in words, or comes back, and
/// nothing is left; the mounts of the system are what they were.
#[test]
fn a_record_of_mounts_of_parts_that_lies_does_no_harm() {
    let mut job = parts(&["private", "pids"]);
    let mounts = system_mounts();
    let (folder, image) = (job.specimen().folder(), job.specimen().image());
    let frozen = job.fall_asleep();
    let group = forge::group(&image);
    let forged_image = image.with_extension("forged");
    let (mut refused, mut tried) = (0, 0);
    let all = (0..100_000).take_while(|turn| lie(&mut group.clone(), *turn)).count();
    // So many of them.
    for turn in (0..all).step_by((all / 120).max(1)) {
        let mut changed = group.clone();
        lie(&mut changed, turn);
        tried += 1;
        forged(&image, &changed, &forged_image);
        let outcome = run(&mut job, &["thaw", "--pid-namespace", "never", &forged_image.to_string_lossy()]);
        assert!(matches!(outcome.status.code(), Some(0 | 1)), "turn {turn}: {:?} {}", outcome.status, outcome.said);
        assert!(!outcome.said.contains("panicked"), "turn {turn}: {}", outcome.said);
        assert_eq!(system_mounts(), mounts, "turn {turn}");
        remove(&forged_image);
        if outcome.status.success() {
            for pid in parts_of(&folder, PROGRAM.0) {
                let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            }
        } else {
            refused += 1;
        }
        let gone = until(PATIENCE, || {
            harness::group::reap(&frozen);
            parts_of(&folder, PROGRAM.0).is_empty().then_some(())
        });
        assert!(gone.is_some(), "turn {turn}: somebody is left: {}", outcome.said);
    }
    assert!(refused > tried / 4, "of {tried} lies only {refused} were found out");
    job.wake_up(&frozen);
    ends_right(job);
}
