//! Sandboxes within a group, as browsers make them for their parts: namespaces of users, pids, networks and IPC that only some members live
//! in, some within others.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ciborium::Value;
use harness::forge::{self, each, field, forged};
use harness::wait::{PATIENCE, until};
use harness::{Job, User};

use crate::{run, thaw_and_kill};

const PROGRAM: (&str, &str) = ("inner.py", include_str!("inner.py"));

fn parts() -> Job {
    let job = Job::script(&["python3", "-ISB"], User::Ordinary, PROGRAM, &[]).by_its_numbers();
    job.wait_for("ready");
    job
}

fn ends_right(mut job: Job) {
    job.make("go");
    assert_eq!(job.end(), "ready\nall is as it was\n");
}

#[test]
fn parts_in_sandboxes_of_their_own_go_on() {
    let mut job = parts();
    let pid = job_pid(&mut job);
    let checked = run(&mut job, &["check", &pid]);
    assert_eq!(checked.status.code(), Some(0), "{}", checked.said);
    job.nap_often(5);
    ends_right(job);
}

pub fn job_pid(job: &mut Job) -> String {
    job.specimen().pid().to_string()
}

/// Of pids alone, and of root: nobody is in a user namespace.
#[test]
fn a_pid_namespace_of_a_part_goes_on() {
    let script = "echo ready; unshare --pid --fork --kill-child bash -c 'until [ -e go ]; do read -t 0.05 <> <(:); done; echo as $$'";
    let mut job = Job::script(&["bash"], User::Root, ("part.sh", script), &[]).by_its_numbers();
    job.wait_for("ready");
    std::thread::sleep(Duration::from_millis(200));
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\nas 1\n");
}

/// One whose parent is gone is made by the leader of its session, which is in another network.
#[test]
fn an_orphan_comes_back_in_its_own_network() {
    let script = r"
(unshare -n bash -c 'until [ -e go ]; do sleep 0.05; done
    [ $(readlink /proc/self/ns/net) != $(readlink /proc/'$$'/ns/net) ] && touch apart; touch looked' &)
sleep 0.3; echo ready
until [ -e looked ]; do sleep 0.05; done
[ -e apart ] && echo apart
";
    let mut job = Job::script(&["bash"], User::Root, ("orphan.sh", script), &[]).by_its_numbers();
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\napart\n");
}

/// `ip netns add` keeps a network though nobody lives in it.
#[test]
fn a_network_that_is_kept_by_a_name_is_told_of() {
    let name = format!("dormouse-{}", std::process::id());
    let ip = |what: &str| Command::new("ip").args(["netns", what, &name]).status().is_ok_and(|status| status.success());
    assert!(ip("add"));
    let script = r"nsenter --net=/run/netns/$0 bash -c 'echo ready; until [ -e go ]; do sleep 0.05; done' & wait";
    let mut job = Job::start("bash", User::Root, |_| {
        let mut command = Command::new("bash");
        command.args(["-c", script, &name]);
        command
    });
    job.wait_for("ready");
    let pid = job.specimen().pid().to_string();
    let checked = run(&mut job, &["check", &pid]);
    job.make("go");
    job.end();
    assert!(ip("delete"));
    let said = checked.said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("lives on without it at /run/netns/{name} (ip netns)")), "{said}");
}

/// Where others have their numbers, they come back within a pid namespace with all that they have in it.
#[test]
fn parts_in_sandboxes_go_on_in_a_pid_namespace_of_the_group() {
    let mut job = parts();
    job.fall_asleep();
    goes_on_in_a_pid_namespace(job);
}

pub fn goes_on_in_a_pid_namespace(mut job: Job) {
    let (folder, image) = (job.specimen().folder(), job.specimen().image().to_string_lossy().into_owned());
    let outcome = run(&mut job, &["thaw", "--pid-namespace", "always", &image]);
    assert!(outcome.status.success(), "{}", outcome.said);
    fs::write(folder.join("go"), "").unwrap_or_else(|error| panic!("{error}"));
    let said = until(PATIENCE, || job.said().contains("all is as it was").then_some(()));
    assert!(said.is_some(), "{}{}", job.said(), job.specimen().errors());
}

#[test]
fn a_killed_thaw_leaves_nothing_of_parts_in_sandboxes() {
    let mut job = parts();
    let (folder, image) = (job.specimen().folder(), job.specimen().image().to_string_lossy().into_owned());
    let frozen = job.fall_asleep();
    for moment in [0, 5, 20, 50, 80, 120] {
        thaw_and_kill(&image, Duration::from_millis(moment));
        let settled = until(PATIENCE, || {
            harness::group::reap(&frozen);
            let there = parts_of(&folder, PROGRAM.0);
            [0, frozen.len()].contains(&there.len()).then_some(there)
        });
        let there = settled
            .unwrap_or_else(|| panic!("some of it are left after {moment} ms: {:?}", parts_of(&folder, PROGRAM.0)));
        // It may have been let go before it was killed.
        if let Some(first) = there.first() {
            let _ = fs::remove_file(&image);
            let outcome = run(&mut job, &["freeze", &first.to_string(), "-o", &image]);
            assert!(outcome.status.success(), "after {moment} ms: {}", outcome.said);
        }
    }
    goes_on_in_a_pid_namespace(job);
}

/// The processes of the program in this folder.
pub fn parts_of(folder: &Path, program: &str) -> Vec<i32> {
    let name = folder.join(program).to_string_lossy().into_owned();
    let is_one = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&name)
    };
    let pids = fs::read_dir("/proc").unwrap_or_else(|error| panic!("{error}")).flatten();
    let mut pids: Vec<i32> = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_one).collect();
    pids.sort_unstable();
    pids
}

/// An image that is not root's own gets its owner no user namespaces.
#[test]
fn an_image_of_an_ordinary_user_makes_no_inner_user_namespaces() {
    let mut job = parts();
    let image = job.specimen().image().to_string_lossy().into_owned();
    let frozen = job.fall_asleep();
    std::os::unix::fs::chown(&image, Some(1000), Some(1000)).unwrap_or_else(|error| panic!("{error}"));
    let outcome = run(&mut job, &["thaw", &image]);
    let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!outcome.status.success() && said.contains("holds namespaces of users"), "{said}");
    std::os::unix::fs::chown(&image, Some(0), Some(0)).unwrap_or_else(|error| panic!("{error}"));
    job.wake_up(&frozen);
    ends_right(job);
}

/// What a record can be made to say, place by place.
fn lies(value: &Value) -> Vec<Value> {
    match value {
        Value::Integer(_) => vec![Value::from(0), Value::from(u64::MAX), Value::from(-1), Value::from(3)],
        Value::Text(_) => vec![Value::from("user"), Value::from("pid")],
        Value::Array(items) => vec![Value::Array(Vec::new()), Value::Array([items.clone(), items.clone()].concat())],
        Value::Bool(is) => vec![Value::Bool(!is)],
        _ => vec![Value::Null],
    }
}

/// Whether a place, a number further in, or the list of namespaces itself lies: it is refused in words, or comes back, and nothing is left.
#[test]
fn a_record_of_inner_namespaces_that_lies_does_no_harm() {
    let mut job = parts();
    let (folder, image) = (job.specimen().folder(), job.specimen().image());
    let frozen = job.fall_asleep();
    let group = forge::group(&image);
    let forged_image = image.with_extension("forged");
    let (mut refused, mut tried) = (0, 0);
    // One lie in three.
    for turn in (0..).step_by(3) {
        let mut changed = group.clone();
        if !lie(&mut changed, turn) {
            break;
        }
        tried += 1;
        forged(&image, &changed, &forged_image);
        let outcome = run(&mut job, &["thaw", "--pid-namespace", "never", &forged_image.to_string_lossy()]);
        assert!(matches!(outcome.status.code(), Some(0 | 1)), "turn {turn}: {:?} {}", outcome.status, outcome.said);
        assert!(!outcome.said.contains("panicked"), "turn {turn}: {}", outcome.said);
        remove(&forged_image);
        if outcome.status.success() {
            remove(&image.with_extension("again"));
            let again = image.with_extension("again").to_string_lossy().into_owned();
            let pid = job_pid(&mut job);
            let outcome = run(&mut job, &["freeze", "--accept-losses", &pid, "-o", &again]);
            assert!(outcome.status.success(), "turn {turn}: {}", outcome.said);
        } else {
            refused += 1;
        }
        let gone = until(PATIENCE, || {
            harness::group::reap(&frozen);
            parts_of(&folder, PROGRAM.0).is_empty().then_some(())
        });
        assert!(gone.is_some(), "turn {turn}: somebody is left: {}", outcome.said);
    }
    assert!(refused > 10 && tried > refused / 2, "of {tried} lies only {refused} were found out");
    job.wake_up(&frozen);
    ends_right(job);
}

pub fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

/// Tells the lie of this turn; whether there is one.
fn lie(group: &mut Value, turn: usize) -> bool {
    let mut at = 0;
    let mut told = false;
    let mut tell = |value: &mut Value| {
        for choice in lies(value) {
            if at == turn {
                *value = choice;
                told = true;
            }
            at += 1;
            if told {
                at = usize::MAX / 2;
                return;
            }
        }
    };
    if let Some(inner) = field(group, "inner") {
        each(inner, &mut |value| {
            // Settings of the network are many, and lie in tests of their own.
            if !matches!(value, Value::Bytes(_)) && value.as_map().is_none_or(|map| map.len() != 2) {
                tell(value);
            }
        });
    }
    let Some(processes) = field(group, "processes").and_then(Value::as_array_mut) else { return told };
    for process in processes {
        for name in ["place", "inner"] {
            if let Some(value) = field(process, name) {
                each(value, &mut tell);
            }
        }
    }
    told
}
