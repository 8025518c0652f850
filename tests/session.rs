//! `dormouse session`: all groups of a user fall asleep with one command and wake with one, in order; what cannot is told, and an
//! interruption at any moment loses nothing. Each test has a user of its own, whose groups are all that it touches.
#![allow(missing_docs, clippy::panic)]

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use ciborium::Value as Cbor;
use dormouse_engine::image::SectionKind;
use harness::command;
use harness::forge::forged_section;
use harness::session::{COUNTER, PARENT, Program, Stage, TIED, said, taken_by_strangers};
use harness::specimen::without_inheritance;
use harness::wait::{PATIENCE, until};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::Value;

fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// Runs `dormouse session` for the user.
fn run(stage: &Stage, arguments: &[&str]) -> Output {
    stage.run(&[&["session"], arguments].concat())
}

fn json(stage: &Stage, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = run(stage, &[arguments, &["--json"]].concat());
    let said = done(serde_json::from_slice(&output.stdout));
    (output.status.code(), said)
}

const SERVER: &str = r#"
import os, socket
server = socket.socket(socket.AF_UNIX)
if os.path.exists("socket"): os.unlink("socket")
server.bind("socket")
server.listen()
print("listens")
asker, _ = server.accept()
while True:
    asked = asker.recv(100)
    if not asked: break
    asker.send(str(int(asked) + 1).encode())
print("over")
"#;

const CLIENT: &str = r#"
import socket, time
client = socket.socket(socket.AF_UNIX)
client.connect("socket")
number = 0
while True:
    client.send(str(number).encode())
    number = int(client.recv(100))
    print(number)
    time.sleep(0.05)
"#;

#[test]
fn all_groups_of_a_user_sleep_and_wake_and_what_cannot_is_told() {
    let stage = Stage::new(61_101);
    let outside = done(std::os::unix::net::UnixListener::bind(stage.path("outside")));
    done(chown(stage.path("outside"), Some(stage.user()), None));
    let mut counter = stage.python("counter", COUNTER);
    let mut server = stage.python("server", SERVER);
    server.waits_for("listens");
    let mut client = stage.python("client", CLIENT);
    let mut shell = stage.start("shell", "sh", &["-c", "n=0; while :; do echo $n; n=$((n+1)); sleep 0.05; done | cat"]);
    let tied = stage.python("tied", TIED);
    let _other_end = done(outside.accept());
    tied.waits_for("tied");
    for program in [&counter, &client, &shell] {
        program.goes_on();
    }

    let (status, planned) = json(&stage, &["freeze", "--dry-run"]);
    assert_eq!((status, planned["together"].as_array().map(Vec::len)), (Some(0), Some(4)), "{planned}");
    assert!(counter.runs() && stage.images().is_empty());

    let (status, slept) = json(&stage, &["freeze"]);
    assert_eq!(status, Some(1), "{slept}");
    let first_pids = |groups: &Value| {
        let groups = groups["groups"].as_array().cloned().unwrap_or_default();
        groups.iter().filter_map(|group| group["first_pid"].as_i64()).map(|pid| pid as i32).collect::<Vec<_>>()
    };
    let asleep: Vec<Vec<i32>> = slept["asleep"].as_array().into_iter().flatten().map(first_pids).collect();
    // The youngest first; client and server in one image.
    assert_eq!(asleep, [vec![shell.pid], vec![server.pid, client.pid], vec![counter.pid]], "{slept}");
    let stayed = &slept["stayed"];
    assert_eq!(first_pids(&stayed[0]), [tied.pid], "{slept}");
    assert!(stayed[0]["problems"].to_string().contains("outside"), "{stayed}");
    for program in [&mut counter, &mut server, &mut client, &mut shell] {
        program.is_gone();
    }
    assert!(tied.runs());
    assert_eq!(stage.images().len(), 3);

    let (status, listed) = json(&stage, &["status"]);
    let names: Vec<_> = listed.as_array().into_iter().flatten().filter_map(|image| image["id"].as_str()).collect();
    assert_eq!((status, names.len()), (Some(0), 3), "{listed}");
    assert!(names[2].starts_with("sh-"), "what was frozen first is woken last: {names:?}");

    // Without the user's connection to outside, for a change.
    drop(tied);
    let (status, woken) = json(&stage, &["thaw"]);
    assert_eq!(status, Some(0), "{woken}");
    for program in [&counter, &client, &shell] {
        program.goes_on();
        program.counts();
    }
    assert!(server.runs() && !server.said().contains("over"));
    assert_eq!(stage.images(), Vec::<String>::new());
    let (status, woken) = json(&stage, &["thaw"]);
    assert_eq!((status, woken["awake"].as_array().map(Vec::len)), (Some(0), Some(0)));
}

#[test]
fn a_freeze_that_is_killed_or_interrupted_loses_nothing() {
    let stage = Stage::new(61_102);
    let programs: Vec<Program> = (0..8).map(|number| stage.python(&format!("counter{number}"), COUNTER)).collect();
    programs.iter().for_each(Program::goes_on);
    for (round, signal) in [Signal::SIGKILL, Signal::SIGINT, Signal::SIGKILL, Signal::SIGTERM].into_iter().enumerate() {
        let mut freeze = stage.command(&["session", "freeze"]);
        freeze.stdout(Stdio::null()).stderr(Stdio::null());
        let mut freeze = done(freeze.spawn());
        // At another moment in each round.
        let some = until(PATIENCE, || (stage.images().len() > round).then_some(()));
        assert!(some.is_some(), "nothing falls asleep");
        done(kill(Pid::from_raw(freeze.id() as i32), signal));
        done(freeze.wait());
        // A worker hears of it by itself.
        std::thread::sleep(Duration::from_millis(300));
        let asleep = stage.images().len();
        for number in programs.iter().map(|program| Pid::from_raw(program.pid)) {
            let _ = waitpid(number, Some(WaitPidFlag::WNOHANG));
        }
        let awake = programs.iter().filter(|program| program.runs()).count();
        assert!(asleep >= 1 && asleep + awake >= programs.len(), "{asleep} sleep, {awake} run");
        let woken = until(PATIENCE, || {
            let (status, woken) = json(&stage, &["thaw"]);
            // Just killed, it may leave a group running beside its image: that is told, and for a person to decide.
            for twice in woken["asleep"].as_array().into_iter().flatten() {
                assert!(twice["why"].as_str().is_some_and(|why| why.contains("run already")), "{twice}");
                done(fs::remove_file(
                    stage.path(".local/share/dormouse").join(twice["image"].as_str().unwrap_or_default()),
                ));
            }
            (status == Some(0)).then_some(())
        });
        assert!(woken.is_some(), "they do not wake");
        assert_eq!(stage.images(), Vec::<String>::new());
        programs.iter().for_each(Program::goes_on);
    }
    programs.iter().for_each(Program::counts);
}

#[test]
fn a_thaw_that_is_killed_wakes_nobody_twice() {
    let stage = Stage::new(61_103);
    let programs: Vec<Program> = (0..6).map(|number| stage.python(&format!("counter{number}"), COUNTER)).collect();
    programs.iter().for_each(Program::goes_on);
    for round in 0..4 {
        assert_eq!(json(&stage, &["freeze"]).0, Some(0));
        for program in &programs {
            let _ = waitpid(Pid::from_raw(program.pid), None);
        }
        assert_eq!(stage.images().len(), programs.len());
        let mut thaw = stage.command(&["session", "thaw"]);
        thaw.stdout(Stdio::null()).stderr(Stdio::null());
        let mut thaw = done(thaw.spawn());
        let some = until(PATIENCE, || (stage.images().len() < programs.len() - round).then_some(()));
        assert!(some.is_some(), "nobody wakes");
        done(kill(Pid::from_raw(thaw.id() as i32), Signal::SIGKILL));
        done(thaw.wait());
        std::thread::sleep(Duration::from_millis(300));
        let (_, woken) = json(&stage, &["thaw"]);
        let sleeps_on = woken["asleep"].as_array().map(Vec::len);
        assert_eq!(sleeps_on, Some(0), "{woken}");
        assert_eq!(stage.images(), Vec::<String>::new());
        programs.iter().for_each(Program::goes_on);
    }
    programs.iter().for_each(Program::counts);
}

#[test]
fn what_had_a_terminal_waits_for_one() {
    let stage = Stage::new(61_104);
    let script = stage.path("counter.py");
    done(fs::write(&script, COUNTER));
    // `script` gives it a terminal, which is root's program outside of the group.
    let inner = format!("exec python3 -u {} > {}", script.display(), stage.path("job.out").display());
    let mut outer = Command::new("script");
    outer.args([
        "-qefc",
        &format!("exec setpriv --reuid {0} --regid {0} --clear-groups sh -c '{inner}'", stage.user()),
        "/dev/null",
    ]);
    outer.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut outer = done(without_inheritance(&mut outer).spawn());
    let pid = until(PATIENCE, || {
        done(fs::read_dir("/proc")).flatten().find_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let is_it = fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm == "python3\n")
                && entry.metadata().is_ok_and(|found| found.uid() == stage.user());
            is_it.then_some(pid)
        })
    });
    let pid = pid.unwrap_or_else(|| panic!("it does not start"));
    let job = Program { name: "job".to_owned(), pid, child: None, out: stage.path("job.out") };
    job.goes_on();
    let (status, slept) = json(&stage, &["freeze"]);
    assert_eq!(status, Some(0), "{slept}");
    let (status, woken) = json(&stage, &["thaw"]);
    assert_eq!(status, Some(1), "{woken}");
    assert!(woken["asleep"][0]["why"].as_str().is_some_and(|why| why.contains("terminal")), "{woken}");
    assert_eq!(stage.images().len(), 1);
    let _ = (outer.kill(), outer.wait());
}

#[test]
fn what_was_put_to_sleep_by_itself_is_none_of_its_business() {
    let stage = Stage::new(61_105);
    let mut counter = stage.python("counter", COUNTER);
    counter.goes_on();
    let image = stage.path("own.dormouse");
    let mut freeze = Command::new(command::path());
    freeze.args(["freeze", &counter.pid.to_string(), "-o"]).arg(&image);
    assert!(done(without_inheritance(&mut freeze).status()).success());
    counter.is_gone();
    let folder = stage.path(".local/share/dormouse");
    done(fs::create_dir_all(&folder));
    done(fs::rename(&image, folder.join("own.dormouse")));
    for path in [".local", ".local/share", ".local/share/dormouse", ".local/share/dormouse/own.dormouse"] {
        done(chown(stage.path(path), Some(stage.user()), Some(stage.user())));
    }
    let (status, woken) = json(&stage, &["thaw"]);
    assert_eq!((status, woken["awake"].as_array().map(Vec::len)), (Some(0), Some(0)), "{woken}");
    let (status, listed) = json(&stage, &["status"]);
    assert_eq!((status, listed.as_array().map(Vec::len)), (Some(0), Some(0)), "{listed}");
    let typo = run(&stage, &["freeze", "--except", "nobody-is-called-so"]);
    assert!(!typo.status.success() && String::from_utf8_lossy(&typo.stderr).contains("nobody to leave out"));
    let other = run(&stage, &["freeze", "--except"]);
    assert_eq!(other.status.code(), Some(2));
    let mut nobody = Command::new(command::path());
    nobody.args(["session", "status", "--user", "nobody-of-this-name"]);
    let nobody = done(nobody.output());
    assert!(!nobody.status.success() && String::from_utf8_lossy(&nobody.stderr).contains("no user"));
}

#[test]
fn who_has_got_a_pid_since_is_not_taken_for_who_had_it() {
    let stage = Stage::new(61_106);
    let mut ends = stage.python("ends", COUNTER);
    let parent = stage.python("parent", PARENT);
    let child = parent.child_pid();
    let counters: Vec<Program> = (0..4).map(|number| stage.python(&format!("counter{number}"), COUNTER)).collect();
    counters.iter().for_each(Program::goes_on);
    let others: Vec<&Program> = counters.iter().chain([&parent]).collect();
    let mut command = stage.command(&["session", "freeze", "--json"]);
    let command = done(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn());
    let (strangers, output) = taken_by_strangers(&stage, command, (&mut ends, child), &others);
    let slept: Value = done(serde_json::from_slice(&output.stdout));
    assert_eq!((output.status.code(), slept["asleep"].as_array().map(Vec::len)), (Some(0), Some(5)), "{slept}");
    let left = slept["left"].as_array().cloned().unwrap_or_default();
    let ended = left.iter().find(|left| left["first_pid"].as_i64() == Some(i64::from(ends.pid)));
    assert!(ended.is_some_and(|left| left["why"].as_str().is_some_and(|why| why.contains("has ended"))), "{slept}");
    strangers.iter().for_each(Program::goes_on);
    assert_eq!(json(&stage, &["thaw"]).0, Some(0));
    others.into_iter().for_each(Program::counts_on);
    strangers.iter().for_each(Program::goes_on);
}

#[test]
fn what_a_thaw_can_be_told_of_users_is_told_with_the_command_that_takes_it() {
    let stage = Stage::new(61_107);
    let mut counter = stage.python("counter", COUNTER);
    counter.goes_on();
    assert_eq!(json(&stage, &["freeze"]).0, Some(0));
    counter.is_gone();
    let name = stage.images().pop().unwrap_or_default();
    let path = stage.path(".local/share/dormouse").join(&name);
    // As another machine had written it, where the user was called as nobody is here.
    let called = |name: &str| Cbor::Map(vec![(stage.user().into(), name.into())]);
    let names = Cbor::Map(vec![("users".into(), called("somebody-elsewhere")), ("groups".into(), Cbor::Map(vec![]))]);
    let forged = stage.path("forged.dormouse");
    forged_section(&path, SectionKind::Owners, &names, &forged);
    done(chown(&forged, Some(stage.user()), Some(stage.user())));
    done(fs::rename(&forged, &path));
    let told = run(&stage, &["thaw"]);
    let words = said(&told);
    assert_eq!(told.status.code(), Some(1), "{words}");
    assert!(words.contains("nobody is called somebody-elsewhere"), "{words}");
    assert!(words.contains("options of `dormouse thaw`"), "{words}");
    let told = run(&stage, &["thaw", "--users", "as-they-are"]);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    counter.counts_on();
}

/// Has a child in a session of its own, which counts into a file; says its pid, and counts.
const SHELL: &str = "import os, time\nchild = os.fork()\nif child == 0:\n    os.setsid()\n    \
                     os.execvp('sh', ['sh', '-c', 'n=0; while :; do echo $n; n=$((n+1)); sleep 0.05; done > child.out'])\n\
                     print('child', child)\ni = 0\nwhile True:\n    print(i)\n    i += 1\n    time.sleep(0.05)\n";

#[test]
fn who_is_left_out_does_not_fall_asleep_with_his_parent() {
    let stage = Stage::new(61_108);
    let (shell, other) = (stage.python("shell", SHELL), stage.python("other", COUNTER));
    let pid = shell.child_pid();
    let child = Program { name: "child".to_owned(), pid, child: None, out: stage.path("child.out") };
    [&shell, &other, &child].into_iter().for_each(Program::goes_on);
    let (status, planned) = json(&stage, &["freeze", "--dry-run", "--except", &pid.to_string()]);
    assert_eq!((status, planned["together"].as_array().map(Vec::len)), (Some(0), Some(1)), "{planned}");
    assert_eq!(planned["stayed"][0]["groups"][0]["first_pid"], shell.pid, "{planned}");
    let (status, slept) = json(&stage, &["freeze", "--except", &pid.to_string()]);
    assert_eq!((status, slept["asleep"].as_array().map(Vec::len)), (Some(1), Some(1)), "{slept}");
    assert_eq!(slept["asleep"][0]["groups"][0]["first_pid"], other.pid, "{slept}");
    assert_eq!(slept["stayed"][0]["problems"][0]["process"]["pid"], pid, "{slept}");
    assert_eq!(slept["left"][0]["first_pid"], pid, "{slept}");
    child.counts_on();
    shell.goes_on();
    let told = run(&stage, &["freeze", "--except", &pid.to_string()]);
    assert!(said(&told).contains("would take it along"), "{told:?}");
    // Without that they sleep and wake together.
    assert_eq!(json(&stage, &["freeze"]).0, Some(0));
    let _ = waitpid(Pid::from_raw(shell.pid), None);
    let _ = waitpid(Pid::from_raw(other.pid), None);
    assert_eq!(json(&stage, &["thaw"]).0, Some(0));
    [&shell, &other, &child].into_iter().for_each(Program::goes_on);
}

#[test]
fn who_was_woken_before_an_interruption_and_has_ended_since_is_not_woken_again() {
    let stage = Stage::new(61_109);
    let mut job = stage.python("job", COUNTER);
    job.goes_on();
    assert_eq!(json(&stage, &["freeze"]).0, Some(0));
    job.is_gone();
    let image = stage.images().pop().unwrap_or_default();
    let folder = stage.path(".local/share/dormouse");
    // A thaw that is killed when the job runs, just before it deletes the image.
    let mut thaw = Command::new(command::path());
    thaw.arg("thaw").arg("--background").arg(folder.join(&image));
    assert!(done(without_inheritance(&mut thaw).status()).success());
    let boot = done(fs::read_to_string("/proc/sys/kernel/random/boot_id"));
    let note = format!(r#"{{"image":"{image}","boot":"{}","awake":true}}"#, boot.trim());
    done(fs::write(folder.join("session.waking"), note));
    done(chown(folder.join("session.waking"), Some(stage.user()), Some(stage.user())));
    job.goes_on();
    // The job has done its work.
    done(kill(Pid::from_raw(job.pid), Signal::SIGTERM));
    job.is_gone();
    let (status, woken) = json(&stage, &["thaw"]);
    assert_eq!(status, Some(0), "{woken}");
    assert!(woken["awake"][0]["image"] == image && woken["awake"][0]["ended"] == true, "{woken}");
    assert!(!job.runs(), "it does its work twice");
    assert_eq!(stage.images(), Vec::<String>::new());
}

#[test]
fn what_a_person_has_woken_by_himself_is_not_woken_again_with_the_session() {
    let stage = Stage::new(61_112);
    let (mut job, mut other) = (stage.python("job", COUNTER), stage.python("other", COUNTER));
    [&job, &other].into_iter().for_each(Program::goes_on);
    assert_eq!(json(&stage, &["freeze"]).0, Some(0));
    [&mut job, &mut other].into_iter().for_each(Program::is_gone);
    let images = stage.images();
    let image = images.iter().find(|name| name.contains(&format!("-{}-", job.pid))).cloned().unwrap_or_default();
    let mut thaw = Command::new(command::path());
    thaw.arg("thaw").arg("--background").arg(stage.path(".local/share/dormouse").join(&image));
    assert!(done(without_inheritance(&mut thaw).status()).success());
    job.goes_on();
    // The job has done its work.
    done(kill(Pid::from_raw(job.pid), Signal::SIGTERM));
    job.is_gone();
    let told = run(&stage, &["status"]);
    assert!(String::from_utf8_lossy(&told.stdout).contains("woken before"), "{told:?}");
    let (status, woken) = json(&stage, &["thaw"]);
    assert_eq!((status, woken["awake"].as_array().map(Vec::len)), (Some(1), Some(1)), "{woken}");
    assert!(woken["asleep"][0]["why"].as_str().is_some_and(|why| why.contains("woken before")), "{woken}");
    assert!(!job.runs(), "it does its work twice");
    other.counts_on();
    // Nothing is lost: whoever wants it can wake it once more.
    assert_eq!(stage.images(), [image]);
}

#[test]
fn nobody_waits_for_a_fifo_in_the_place_of_what_a_session_writes_down() {
    let stage = Stage::new(61_110);
    let mut counter = stage.python("counter", COUNTER);
    counter.goes_on();
    let folder = stage.path(".local/share/dormouse");
    done(fs::create_dir_all(&folder));
    for path in [".local", ".local/share", ".local/share/dormouse"] {
        done(chown(stage.path(path), Some(stage.user()), Some(stage.user())));
    }
    done(nix::unistd::mkfifo(&folder.join("session.lock"), nix::sys::stat::Mode::from_bits_truncate(0o600)));
    done(chown(folder.join("session.lock"), Some(stage.user()), Some(stage.user())));
    let mut freeze = stage.command(&["session", "freeze"]);
    let mut freeze = done(freeze.stdout(Stdio::null()).stderr(Stdio::null()).spawn());
    let ended = until(PATIENCE, || done(freeze.try_wait()));
    if ended.is_none() {
        let _ = (freeze.kill(), freeze.wait());
    }
    assert!(ended.is_some_and(|status| status.success()), "it waits");
    counter.is_gone();
    assert_eq!(json(&stage, &["thaw"]).0, Some(0));
    counter.counts_on();
}

#[test]
fn what_a_thaw_can_be_told_of_changed_files_is_told() {
    let stage = Stage::new(61_111);
    done(fs::write(stage.path("data"), "as it was"));
    let mut worker = stage.python("worker", &format!("data = open('data')\n{COUNTER}"));
    worker.goes_on();
    assert_eq!(json(&stage, &["freeze"]).0, Some(0));
    worker.is_gone();
    done(fs::write(stage.path("data"), "other"));
    let told = run(&stage, &["thaw"]);
    assert_eq!(told.status.code(), Some(1));
    assert!(said(&told).contains("--changed-files new"), "{told:?}");
    assert_eq!(run(&stage, &["thaw", "--changed-files", "new"]).status.code(), Some(0));
    worker.counts_on();
}

#[test]
fn a_session_that_was_to_keep_files_wakes_with_what_they_held() {
    let stage = Stage::new(61_113);
    done(fs::write(stage.path("data"), "as it was"));
    let worker = "import os, time\ndata = open('data')\nwhile True:\n    print(os.pread(data.fileno(), 99, 0))\n    time.sleep(0.05)\n";
    let mut worker = stage.python("worker", worker);
    worker.goes_on();
    assert_eq!(json(&stage, &["freeze", "--keep", "files"]).0, Some(0));
    worker.is_gone();
    done(fs::write(stage.path("data"), "another"));
    let told = run(&stage, &["thaw"]);
    assert_eq!(told.status.code(), Some(1));
    assert!(said(&told).contains("--changed-files kept"), "{told:?}");
    let told = run(&stage, &["thaw", "--changed-files", "kept"]);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    worker.goes_on();
    assert!(worker.said().contains("as it was") && !worker.said().contains("another"), "{}", worker.said());
}
