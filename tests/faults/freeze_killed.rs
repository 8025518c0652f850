//! The command is killed with SIGKILL while it freezes: the group runs on as if nothing had happened, and there is no
//! image; or the image is whole, and the group comes back from it.
//!
//! One thing cannot be helped: calls that end with EINTR whenever their thread is stopped, by whomever (signal(7):
//! epoll_wait(2), sigtimedwait(2) and others), do so when the engine is killed between the stop of a thread and the
//! moment it gives the thread the call back.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use dormouse_engine::image::{Reader, SectionKind};
use dormouse_engine::resource::group::Group;
use harness::process::{Stat, numbers_in, status};
use harness::specimen::Answer;
use harness::{Program, Specimen, User, wait};

use crate::killer::{self, End};
use crate::{ZOO, step};

/// So long a program may be used: its calls with a timeout must still be waiting when it checks itself.
const FRESH: Duration = Duration::from_secs(3);

fn sweep(name: &'static str, user: User) {
    let program = Program::named(name);
    let calls = whole(&program, user);
    let mut next = 1;
    while next <= calls {
        next = some(&program, user, next, calls);
    }
}

/// How many system calls a freeze makes that nobody disturbs.
fn whole(program: &Program, user: User) -> usize {
    let specimen = started(program, user);
    let image = specimen.image();
    match killer::run(&["freeze", &specimen.pid().to_string(), "-o", &image.to_string_lossy()], &specimen.folder(), 0) {
        End::Ended { calls, status: 0 } => calls,
        other => panic!("{} cannot be frozen: {other:?}\n{}", program.name, said(&specimen)),
    }
}

fn started(program: &Program, user: User) -> Specimen {
    let mut specimen = Specimen::start(Path::new(ZOO), program, user);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{} could not be set up: {answer:?}", program.name));
    specimen
}

fn said(specimen: &Specimen) -> String {
    fs::read_to_string(specimen.folder().join("killed.err")).unwrap_or_default()
}

/// Kills freezes of one specimen, from the `nth` system call on; answers where to go on.
fn some(program: &Program, user: User, mut nth: usize, calls: usize) -> usize {
    let mut specimen = started(program, user);
    let (group, before) = (specimen.members(), masks(program, &specimen.members()));
    let begin = Instant::now();
    while nth <= calls && begin.elapsed() < FRESH {
        let (pid, image) = (specimen.pid().to_string(), specimen.image());
        let end = killer::run(&["freeze", &pid, "-o", &image.to_string_lossy()], &specimen.folder(), nth);
        if image.exists() {
            from_the_image(program, specimen, &group, nth);
            return nth + step(calls);
        }
        assert_eq!(end, End::Killed, "{}", said(&specimen));
        runs(program, &mut specimen, &group, &before, nth);
        nth += step(calls);
    }
    let answer = specimen.go();
    assert_eq!(
        answer,
        Answer::Ok,
        "{} finds things wrong after freezes that were killed, the last before system call {nth}",
        program.name
    );
    specimen.assert_ends();
    nth
}

/// Every thread runs, is traced by nobody, and has the signal mask it had.
fn runs(program: &Program, specimen: &mut Specimen, group: &BTreeSet<i32>, before: &BTreeSet<String>, nth: usize) {
    let left: Vec<String> = fs::read_dir(specimen.image().parent().unwrap_or(Path::new("/")))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("dormouse"))
        .collect();
    assert_eq!(left, [""; 0], "a freeze that was killed at system call {nth} left files");
    let now = specimen.members();
    assert_eq!(&now, group, "the group is not the same after a freeze that was killed at system call {nth}");
    let mut wrong = Vec::new();
    let well = wait::until(Duration::from_secs(5), || {
        wrong = stuck(&now);
        wrong.is_empty().then_some(())
    });
    assert!(well.is_some(), "killed at system call {nth}:\n{}", wrong.join("\n"));
    // A thread that goes on by itself has its mask back a moment later.
    let mut after = BTreeSet::new();
    let same = wait::until(Duration::from_secs(5), || {
        after = masks(program, &now);
        (&after == before).then_some(())
    });
    let differences: Vec<_> = before.symmetric_difference(&after).collect();
    assert!(same.is_some(), "killed at system call {nth}, the signal masks differ: {differences:?}");
}

/// Threads that do not run, or that somebody traces.
pub fn stuck(pids: &BTreeSet<i32>) -> Vec<String> {
    let mut stuck = Vec::new();
    for pid in pids {
        for tid in numbers_in(&format!("/proc/{pid}/task")) {
            let task = format!("/proc/{pid}/task/{tid}");
            let traced = field(&task, "TracerPid").is_some_and(|tracer| tracer != "0");
            let state = Stat::read(&format!("{task}/stat")).map_or('?', |stat| stat.state());
            if traced || matches!(state, 't' | 'T' | 'X') {
                stuck.push(format!("thread {tid} of {pid} is in state {state}, traced: {traced}"));
            }
        }
    }
    stuck
}

/// Its calls set other masks while they wait, and end while they are watched.
const CHANGES_MASKS: &str = "polls";

fn masks(program: &Program, pids: &BTreeSet<i32>) -> BTreeSet<String> {
    if program.name == CHANGES_MASKS {
        return BTreeSet::new();
    }
    let mut masks = BTreeSet::new();
    for pid in pids {
        for tid in numbers_in(&format!("/proc/{pid}/task")) {
            let mask = field(&format!("/proc/{pid}/task/{tid}"), "SigBlk").unwrap_or_default();
            masks.insert(format!("{tid}: {mask}"));
        }
    }
    masks
}

pub fn field(task: &str, name: &str) -> Option<String> {
    status(&format!("{task}/status"))?.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// Killed after the image was sealed: it is whole, and the group is in it. What was not ended yet is ended by hand.
fn from_the_image(program: &Program, mut specimen: Specimen, group: &BTreeSet<i32>, nth: usize) {
    specimen.end_processes(group);
    specimen.assert_asleep(group);
    specimen.thaw().expect_success("thaw");
    specimen.assert_awake(group);
    let answer = specimen.go();
    assert_eq!(
        answer,
        Answer::Ok,
        "{} finds things wrong after a freeze that was killed at system call {nth}",
        program.name
    );
    specimen.assert_ends();
}

/// Mappings of a process that were not there before, other than stack and heap, which grow by themselves.
fn added(pid: i32, before: &BTreeSet<String>) -> Vec<String> {
    mappings(pid).difference(before).filter(|line| !line.contains('[')).cloned().collect()
}

fn mappings(pid: i32) -> BTreeSet<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The vdso that the image keeps.
fn vdso(image: &Path) -> Option<Vec<u8>> {
    let reader = Reader::open(image).unwrap_or_else(|error| panic!("{error}"));
    let group: Group = reader.section(SectionKind::Group).unwrap_or_else(|error| panic!("{error}"));
    group.vdso.map(|vdso| vdso.code)
}

#[test]
fn the_next_freeze_is_like_any_other() {
    let program = Program::named("threads");
    let calls = whole(&program, User::Root);
    let untouched = {
        let mut specimen = started(&program, User::Root);
        specimen.freeze().expect_success("freeze");
        vdso(&specimen.image())
    };
    for nth in (1..=calls).step_by(step(calls)) {
        let mut specimen = started(&program, User::Root);
        let (pid, image, group) = (specimen.pid(), specimen.image(), specimen.members());
        let before = mappings(pid);
        killer::run(&["freeze", &pid.to_string(), "-o", &image.to_string_lossy()], &specimen.folder(), nth);
        if image.exists() {
            break;
        }
        wait::until(Duration::from_secs(5), || stuck(&group).is_empty().then_some(()));
        // Its own pages stay in the process, and are of no account: one of code, and the desks behind it.
        let left = added(pid, &before);
        assert!(left.len() <= 2, "a freeze that was killed at system call {nth} left {left:?}");
        specimen.freeze().expect_success("freeze");
        assert_eq!(vdso(&image), untouched, "the vdso after a freeze that was killed at system call {nth}");
        specimen.assert_asleep(&group);
        let outcome = specimen.thaw();
        outcome.expect_success("thaw");
        assert!(!outcome.said.contains("lost"), "thawed after a kill at system call {nth}:\n{}", outcome.said);
        specimen.assert_awake(&group);
        assert_eq!(specimen.go(), Answer::Ok, "thawed after a freeze that was killed at system call {nth}");
        specimen.assert_ends();
    }
}

macro_rules! sweeps {
    ($($test:ident: $program:ident, $user:ident;)*) => {
        $(#[test]
        fn $test() {
            sweep(stringify!($program), User::$user);
        })*
    };
}

sweeps! {
    registers_survive: registers, Root;
    threads_survive: threads, Ordinary;
    blocked_reads_survive: futex_waits, Root;
    sleeps_survive: sleeps, Ordinary;
    polls_survive: polls, Root;
    waits_for_children_survive: child_waits, Root;
    waiting_signals_survive: pending_signals, Root;
    programs_of_32_bits_survive: ia32_static, Ordinary;
    mixed_programs_survive: ia32_mixed, Root;
}
