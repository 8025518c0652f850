//! Calls that were interrupted before, and are interrupted by the freeze once more.

use std::path::Path;

use dormouse_engine::{Born, FreezeOptions, Selection};
use dormouse_wire::{Compression, Disconnect, Pid, Quiet};
use harness::process::{Stat, numbers_in};
use harness::specimen::Answer;
use harness::{Program, Specimen, User, wait};

use crate::ZOO;
use crate::killer::{self, End};

/// One copy right after the other; the group comes back from the last.
const LAST: usize = 20;

/// The engine works in whatever thread its caller has: here it is not the first one of its process.
#[test]
fn a_call_that_is_interrupted_again_and_again_goes_on() {
    let program = Program::named("polls");
    let mut specimen = Specimen::start(Path::new(ZOO), &program, User::Root);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let group = specimen.members();
    for copy in 0..=LAST {
        let image = match copy {
            LAST => specimen.image(),
            _ => specimen.image().with_file_name(format!("copy-{copy}.dormouse")),
        };
        let options = FreezeOptions {
            image,
            leave_running: true,
            accept_losses: false,
            label: None,
            compression: Compression::Fast,
            kept: None,
            keep_files: false,
        };
        let selection = Selection {
            pid: Pid(specimen.pid()),
            others: Vec::new(),
            born: Born::default(),
            tree_only: false,
            disconnect: Disconnect::Nothing,
            keep_connections: false,
            asker: None,
        };
        dormouse_engine::freeze(&selection, &options, &Quiet).unwrap_or_else(|error| panic!("{error}: {error:?}"));
    }
    specimen.end_processes(&group);
    specimen.assert_asleep(&group);
    specimen.thaw().expect_success("thaw");
    specimen.assert_awake(&group);
    let answer = specimen.go();
    assert_eq!(answer, Answer::Ok, "a call that was interrupted {LAST} times came back wrong");
    specimen.assert_ends();
}

fn send(pid: i32, signal: i32) {
    // SAFETY: sends a signal to the program that this test has started.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "{}", std::io::Error::last_os_error());
}

/// Waits until all threads are in one of these states, proc_pid_stat(5).
fn wait_for_states(pid: i32, states: &str) {
    let tasks = format!("/proc/{pid}/task");
    let state = |tid: &i32| Stat::read(&format!("{tasks}/{tid}/stat")).map(|stat| stat.state());
    let all = || numbers_in(&tasks).iter().all(|tid| state(tid).is_some_and(|state| states.contains(state)));
    assert!(wait::until(wait::PATIENCE, || all().then_some(())).is_some(), "its threads do not come to be `{states}`");
}

/// Stopped, continued and stopped again, as by ^Z, `fg` and ^Z: the second time its calls are the kernel's
/// restart_syscall(2), which does not tell what it goes on with.
fn stopped_twice(name: &'static str) {
    let program = Program::named(name);
    let mut specimen = Specimen::start(Path::new(ZOO), &program, User::Ordinary);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let group = specimen.members();
    let pid = specimen.pid();
    for (signal, states) in [(libc::SIGSTOP, "T"), (libc::SIGCONT, "S"), (libc::SIGSTOP, "T")] {
        send(pid, signal);
        wait_for_states(pid, states);
    }
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&group);
    specimen.thaw().expect_success("thaw");
    specimen.assert_awake(&group);
    wait_for_states(pid, "T");
    send(pid, libc::SIGCONT);
    // Only who waits again can be woken.
    wait_for_states(pid, "S");
    let answer = specimen.go();
    assert_eq!(answer, Answer::Ok, "a call of {name} that was stopped twice came back wrong");
    specimen.assert_ends();
}

#[test]
fn polls_that_were_stopped_twice_go_on() {
    stopped_twice("polls");
}

#[test]
fn sleeps_that_were_stopped_twice_go_on() {
    stopped_twice("sleeps");
}

#[test]
fn futex_waits_that_were_stopped_twice_go_on() {
    stopped_twice("futex_waits");
}

/// At so many moments, spread over the freeze.
const KILLS: usize = 6;

/// Its threads stay where the killed engine had them, in its own pages, until they are continued: a freeze that comes
/// before takes them from there.
#[test]
fn polls_of_a_stopped_process_go_on_after_a_freeze_that_was_killed() {
    let program = Program::named("polls");
    let started = || {
        let mut specimen = Specimen::start(Path::new(ZOO), &program, User::Root);
        specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
        send(specimen.pid(), libc::SIGSTOP);
        wait_for_states(specimen.pid(), "T");
        specimen
    };
    let killed = |specimen: &Specimen, nth| {
        let image = specimen.image();
        killer::run(&["freeze", &specimen.pid().to_string(), "-o", &image.to_string_lossy()], &specimen.folder(), nth)
    };
    let calls = match killed(&started(), 0) {
        End::Ended { calls, status: 0 } => calls,
        other => panic!("it cannot be frozen: {other:?}"),
    };
    for nth in (1..calls).step_by(calls.div_ceil(KILLS)).skip(1) {
        let mut specimen = started();
        let (pid, group) = (specimen.pid(), specimen.members());
        assert_eq!(killed(&specimen, nth), End::Killed);
        if specimen.image().exists() {
            specimen.end_processes(&group);
        } else {
            wait_for_states(pid, "T");
            specimen.freeze().expect_success("freeze");
        }
        specimen.assert_asleep(&group);
        specimen.thaw().expect_success("thaw");
        specimen.assert_awake(&group);
        send(pid, libc::SIGCONT);
        assert_eq!(specimen.go(), Answer::Ok, "frozen after a freeze that was killed at system call {nth} of {calls}");
        specimen.assert_ends();
    }
}
