//! Ctrl-C at several moments of a freeze and of a thaw: all of it is undone.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use harness::group::MARK;
use harness::process::{Stat, status};
use harness::specimen::Answer;
use harness::{Program, Specimen, User, command, wait};

use crate::done;

/// 150 MB that do not compress, so that there is time to cancel; and a second process, for a family to be undone.
const PROGRAM: &str = r#"
import os, time, zlib
held = os.urandom(150_000_000)
sum, n, parent = zlib.crc32(held), 0, os.getpid()
if os.fork() == 0:
    while os.getppid() == parent and not os.path.exists("go"): time.sleep(0.01)
    os._exit(0 if zlib.crc32(held[:1000]) == zlib.crc32(bytes(held[:1000])) else 1)
open("ready", "w").close()
while not os.path.exists("go"):
    time.sleep(0.005)
    n += 1
    with open("count.new", "w") as file: file.write(str(n))
    os.rename("count.new", "count")
ended = os.waitstatus_to_exitcode(os.wait()[1])
with open("result.new", "w") as file: file.write("ok" if zlib.crc32(held) == sum and ended == 0 else "it has changed")
os.rename("result.new", "result")"#;

/// At so many moments, spread over the time that the whole takes.
const MOMENTS: u32 = 6;

fn started() -> (Specimen, BTreeSet<i32>) {
    let program = Program::named("large");
    let mut specimen = Specimen::launch(&program, User::Ordinary, |folder| {
        let script = folder.join("script");
        done(fs::write(&script, PROGRAM));
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script);
        command
    });
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let group = specimen.members();
    (specimen, group)
}

/// Runs the command, and sends it the signal so long after it has begun to listen to it.
fn cancelled(specimen: &Specimen, arguments: &[&str], signal: i32, after: Duration) -> (ExitStatus, String) {
    let said = specimen.image().with_file_name("cancelled.err");
    let child = Command::new(command::path())
        .args(arguments)
        .env_remove(MARK)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(done(fs::File::create(&said)))
        .spawn();
    let mut child = done(child);
    let listens = wait::until(wait::PATIENCE, || (blocks(&child, signal) || ended(&mut child).is_some()).then_some(()));
    assert!(listens.is_some(), "it never listens to signal {signal}");
    let begin = Instant::now();
    while begin.elapsed() < after && ended(&mut child).is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    if ended(&mut child).is_none() {
        // SAFETY: sends a signal to the command that was just started and has not been waited for.
        unsafe { libc::kill(child.id() as i32, signal) };
    }
    let status = wait::until(wait::PATIENCE, || {
        harness::group::reap(&BTreeSet::from([specimen.pid()]));
        ended(&mut child)
    });
    let status = status.unwrap_or_else(|| {
        let _ = child.kill();
        panic!("it does not end after signal {signal}")
    });
    (status, done(fs::read_to_string(&said)))
}

fn ended(child: &mut Child) -> Option<ExitStatus> {
    done(child.try_wait())
}

fn blocks(child: &Child, signal: i32) -> bool {
    let blocked = status(&format!("/proc/{}/status", child.id()))
        .and_then(|fields| fields.into_iter().find(|(name, _)| name == "SigBlk"))
        .and_then(|(_, mask)| u64::from_str_radix(&mask, 16).ok());
    blocked.is_some_and(|mask| mask & 1 << (signal - 1) != 0)
}

fn signal(moment: u32) -> i32 {
    if moment.is_multiple_of(2) { libc::SIGINT } else { libc::SIGTERM }
}

/// Undone: it ended with 1, and said so. A signal that came too late changes nothing.
fn undone(status: ExitStatus, said: &str, words: &str) -> bool {
    assert_eq!(status.signal(), None, "{said}");
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    match status.code() {
        Some(1) => assert!(said.contains(words), "`{words}` is not said:\n{said}"),
        code => assert_eq!(code, Some(0), "{said}"),
    }
    status.code() == Some(1)
}

fn counts_on(specimen: &Specimen) {
    let count = || fs::read_to_string(specimen.folder().join("count")).ok()?.parse::<u64>().ok();
    let before = count().unwrap_or_else(|| panic!("it does not count"));
    let moved = wait::until(wait::PATIENCE, || count().filter(|now| *now > before + 2));
    assert!(moved.is_some(), "it does not run on");
}

fn is_well(mut specimen: Specimen) {
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

fn files_beside(specimen: &Specimen) -> BTreeSet<String> {
    let folder = specimen.image().with_file_name("");
    let names = done(fs::read_dir(folder)).flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains("image")).collect()
}

#[test]
fn a_freeze_is_undone() {
    let (mut specimen, group) = started();
    let begin = Instant::now();
    specimen.freeze().expect_success("freeze");
    let whole = begin.elapsed();
    specimen.assert_asleep(&group);
    specimen.thaw().expect_success("thaw");
    done(fs::remove_file(specimen.image()));
    let (pid, image) = (specimen.pid().to_string(), specimen.image());
    let mut times = 0;
    for moment in 0..MOMENTS {
        let arguments = ["freeze", pid.as_str(), "-o", &image.to_string_lossy()];
        let (status, said) = cancelled(&specimen, &arguments, signal(moment), whole * moment / MOMENTS);
        if undone(status, &said, "The freeze has been undone; the group runs on, and there is no image.") {
            times += 1;
            assert_eq!(files_beside(&specimen), BTreeSet::new(), "an undone freeze has left files");
        } else {
            specimen.assert_asleep(&group);
            specimen.thaw().expect_success("thaw");
            done(fs::remove_file(&image));
        }
        specimen.assert_awake(&group);
        counts_on(&specimen);
    }
    assert!(times >= MOMENTS / 2, "only {times} freezes of {MOMENTS} were undone");
    is_well(specimen);
}

#[test]
fn a_thaw_is_undone() {
    let (mut specimen, group) = started();
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&group);
    let begin = Instant::now();
    specimen.thaw().expect_success("thaw");
    let whole = begin.elapsed();
    done(fs::remove_file(specimen.image()));
    specimen.freeze().expect_success("freeze");
    let image = specimen.image();
    let (mut times, before) = (0, done(fs::read(&image)));
    for moment in 0..MOMENTS {
        specimen.assert_asleep(&group);
        let arguments = ["thaw", &image.to_string_lossy()];
        let (status, said) = cancelled(&specimen, &arguments, signal(moment), whole * moment / MOMENTS);
        if undone(status, &said, "The thaw has been undone; no process of it is left, and the image is unchanged.") {
            times += 1;
            // Whoever was ended is buried a moment later, some of them by the test, to which their parent has left them.
            let left = || group.iter().filter(|pid| Stat::of(**pid).is_some_and(|stat| stat.state() != 'Z')).count();
            assert_eq!(left(), 0, "an undone thaw has left processes of {group:?}");
            let buried = || {
                harness::group::reap(&group);
                group.iter().all(|pid| Stat::of(*pid).is_none()).then_some(())
            };
            assert!(wait::until(wait::PATIENCE, buried).is_some(), "nobody buries {group:?} after an undone thaw");
            assert!(done(fs::read(&image)) == before, "the image is not what it was");
        } else {
            specimen.assert_awake(&group);
            specimen.end_processes(&group);
        }
    }
    assert!(times >= MOMENTS / 2, "only {times} thaws of {MOMENTS} were undone");
    specimen.assert_asleep(&group);
    specimen.thaw().expect_success("thaw");
    counts_on(&specimen);
    is_well(specimen);
}
