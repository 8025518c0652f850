//! Groups that do not stand still: while they are frozen they make processes and threads, end them, and become other
//! programs. Each freeze works, and the group comes back from it; or it is refused in words, and the group runs on.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dormouse_engine::image::{Reader, SectionKind};
use dormouse_engine::resource::group::Group;
use harness::command::Outcome;
use harness::{Program, Specimen, User, wait};

use crate::done;

/// So often each of them is frozen.
const FREEZES: usize = 10;
/// So many rounds show that it runs on.
const ROUNDS: u64 = 3;

/// Each program counts its rounds in the file `count`, and ends when anything in a round goes wrong.
const FORKS: &str = r"
i=0
while :; do
    (:) & (exit 7) & (: | :) & (sh -c :) &
    last=$!
    wait $last || exit 1
    wait
    i=$((i + 1)); echo $i > count
done";

const EXECS: &str = r#"
i=$(($1 + 1)); echo $i > count
exec sh "$0" $i"#;

const THREADS: &str = r#"
import threading
def told(n):
    with open("count", "w") as file: file.write(f"{n}\n")
n = 0
while True:
    sums = []
    threads = [threading.Thread(target=lambda k=k: sums.append(k)) for k in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert sorted(sums) == list(range(8))
    n += 1
    told(n)"#;

const VFORKS: &str = r#"
import os
n = 0
while True:
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 7"], {})
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    n += 1
    with open("count", "w") as file: file.write(f"{n}\n")"#;

fn frozen_again_and_again(interpreter: &'static str, text: &str, user: User) {
    let program = Program::named("restless");
    let mut specimen = Specimen::launch(&program, user, |folder| {
        let script = folder.join("script");
        done(fs::write(&script, text));
        let mut command = Command::new(interpreter);
        command.arg(script).arg("0");
        command
    });
    let mut frozen = 0;
    for _ in 0..FREEZES {
        let before = runs_on(&specimen, "before a freeze");
        let outcome = specimen.freeze_at_once();
        if outcome.status.success() {
            frozen += 1;
            comes_back(&mut specimen, before);
        } else {
            is_in_words(&outcome);
            assert!(!specimen.image().exists(), "there is an image although the freeze failed");
            runs_on(&specimen, &format!("after a freeze that was refused:\n{}", outcome.said));
        }
    }
    assert!(frozen * 2 >= FREEZES, "only {frozen} freezes of {FREEZES} worked");
}

/// Everything of the group is gone; then it comes back and goes on where it was.
fn comes_back(specimen: &mut Specimen, before: u64) {
    specimen.assert_asleep(&BTreeSet::from([specimen.pid()]));
    let reader = Reader::open(&specimen.image()).unwrap_or_else(|error| panic!("{error}"));
    let group: Group = reader.section(SectionKind::Group).unwrap_or_else(|error| panic!("{error}"));
    // Their parent is gone: it is this test that has to bury the others.
    let pids: BTreeSet<i32> = group.processes.iter().map(|process| process.pid().0).collect();
    let gone = wait::until(Duration::from_secs(10), || {
        harness::group::reap(&pids);
        specimen.members().is_empty().then_some(())
    });
    assert!(gone.is_some(), "still there after the freeze: {:?}", specimen.members());
    let mut outcome = specimen.thaw();
    // The pids of the short-lived ones are the next ones that anybody on this machine gets.
    wait::until(Duration::from_secs(20), || {
        (!outcome.said.contains("belongs to another process now")).then_some(()).or_else(|| {
            outcome = specimen.thaw();
            None
        })
    });
    outcome.expect_success("thaw");
    assert!(runs_on(specimen, "after a thaw") > before, "it has begun anew");
    done(fs::remove_file(specimen.image()));
}

fn is_in_words(outcome: &Outcome) {
    assert_eq!(outcome.status.code(), Some(1), "{}", outcome.said);
    assert!(outcome.said.contains("runs on"), "{}", outcome.said);
    assert!(!outcome.said.contains("panicked"), "{}", outcome.said);
}

fn count(specimen: &Specimen) -> u64 {
    // The file is empty for a moment each time.
    let read = || fs::read_to_string(specimen.folder().join("count")).ok()?.trim().parse().ok();
    wait::until(wait::PATIENCE, read).unwrap_or_else(|| panic!("it does not count: {}", specimen.errors()))
}

/// Where it has come to, after a few more rounds.
fn runs_on(specimen: &Specimen, when: &str) -> u64 {
    let before = count(specimen);
    let moved = wait::until(wait::PATIENCE, || Some(count(specimen)).filter(|now| *now >= before + ROUNDS));
    assert!(Path::new(&format!("/proc/{}", specimen.pid())).exists(), "it has ended {when}");
    moved.unwrap_or_else(|| panic!("it does not run on {when}\n{}", specimen.errors()))
}

#[test]
fn a_storm_of_forks() {
    frozen_again_and_again("/bin/sh", FORKS, User::Ordinary);
}

#[test]
fn one_exec_after_another() {
    frozen_again_and_again("/bin/sh", EXECS, User::Root);
}

#[test]
fn a_storm_of_threads() {
    frozen_again_and_again("/usr/bin/python3", THREADS, User::Ordinary);
}

#[test]
fn one_vfork_after_another() {
    frozen_again_and_again("/usr/bin/python3", VFORKS, User::Root);
}
