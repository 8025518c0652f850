//! The command is killed with SIGKILL while it thaws: no process of the group is left, nor a file, and the image is as it
//! was; or, once the group has been let go, all of it runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::process::Stat;
use harness::specimen::Answer;
use harness::{Program, Specimen, User, wait};

use crate::killer::{self, End};
use crate::{ZOO, step};

/// The program whose processes stand still by SIGSTOP.
const STOPPED: &str = "stopped";

fn sweep(name: &'static str, user: User) {
    let program = if name == STOPPED { Program::named(name).stopped() } else { Program::named(name) };
    let mut next = 1;
    let mut calls = usize::MAX;
    while next <= calls {
        let mut specimen = Specimen::start(Path::new(ZOO), &program, user);
        specimen.wait_ready().unwrap_or_else(|answer| panic!("{name} could not be set up: {answer:?}"));
        let group = specimen.members();
        specimen.freeze().expect_success("freeze");
        specimen.assert_asleep(&group);
        if calls == usize::MAX {
            calls = whole(&specimen);
        } else {
            next = some(&mut specimen, &group, next, calls);
        }
        // Whether it came back from the last kill or from none, it must be whole.
        specimen.assert_awake(&group);
        let answer = specimen.go();
        assert_eq!(answer, Answer::Ok, "{name} finds things wrong, thawed before system call {next}");
        specimen.assert_ends();
    }
}

fn thaw(specimen: &Specimen, nth: usize) -> End {
    let notes = specimen.image().with_file_name("notes");
    fs::create_dir_all(&notes).unwrap_or_else(|error| panic!("{error}"));
    killer::run(&["thaw", &specimen.image().to_string_lossy()], &notes, nth)
}

/// How many system calls a thaw makes that nobody disturbs.
fn whole(specimen: &Specimen) -> usize {
    match thaw(specimen, 0) {
        End::Ended { calls, status: 0 } => calls,
        other => panic!("it cannot be thawed: {other:?}"),
    }
}

/// Kills thaws of one image, from the `nth` system call on, until one has let the group go; answers where to go on.
fn some(specimen: &mut Specimen, group: &BTreeSet<i32>, mut nth: usize, calls: usize) -> usize {
    let (files, image) = (files(specimen), fs::read(specimen.image()).unwrap_or_default());
    while nth <= calls {
        let end = thaw(specimen, nth);
        nth += step(calls);
        if end != End::Killed || runs(specimen, group) {
            return nth;
        }
        let mut left = Vec::new();
        let gone = wait::until(Duration::from_secs(5), || {
            specimen.members();
            left = present(group);
            left.is_empty().then_some(())
        });
        assert!(gone.is_some(), "a thaw that was killed at system call {} left {}", nth - step(calls), left.join(", "));
        assert_eq!(
            self::files(specimen),
            files,
            "a thaw that was killed at system call {} left files",
            nth - step(calls)
        );
    }
    assert!(fs::read(specimen.image()).unwrap_or_default() == image, "the image is not what it was");
    whole(specimen);
    nth
}

/// Whether the whole group runs; half of it never does for long.
fn runs(specimen: &mut Specimen, group: &BTreeSet<i32>) -> bool {
    let whole = |specimen: &mut Specimen| {
        let members = specimen.members();
        members == *group && members.iter().all(|pid| !is_dead_or_traced(*pid))
    };
    // Whoever is to die is dead a moment after the engine; on a busy machine it takes a while until he is told so.
    [20, 250].into_iter().all(|moment| {
        std::thread::sleep(Duration::from_millis(moment));
        whole(specimen)
    })
}

fn is_dead_or_traced(pid: i32) -> bool {
    Stat::of(pid).is_none_or(|stat| stat.is_dead() || stat.state() == 't')
}

/// Processes with pids of the group, and children of this one, for a half-built process may have no other mark.
fn present(group: &BTreeSet<i32>) -> Vec<String> {
    let children = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let children = children.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<i32> = children
        .flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect();
    let mut pids = group.clone();
    pids.extend(children);
    harness::group::reap(&pids);
    pids.into_iter()
        .filter_map(|pid| Stat::of(pid).map(|stat| format!("{pid} ({}, state {})", stat.comm(), stat.state())))
        .collect()
}

/// All files of the program and beside its image.
fn files(specimen: &Specimen) -> BTreeSet<PathBuf> {
    let list = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        entries.flatten().map(|entry| entry.path()).filter(|path| !path.ends_with("notes")).collect::<Vec<_>>()
    };
    let image = specimen.image();
    list(&specimen.folder()).into_iter().chain(list(image.parent().unwrap_or(Path::new("/")))).collect()
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
    threads_vanish: threads, Root;
    sleeping_threads_vanish: sleeps, Ordinary;
    families_vanish: sessions, Root;
    memory_files_vanish: memfd, Ordinary;
    files_without_a_name_vanish: unlinked, Ordinary;
    files_of_another_name_keep_only_that: linked_names, Root;
    stopped_processes_vanish: stopped, Root;
    programs_of_32_bits_vanish: ia32, Ordinary;
}
