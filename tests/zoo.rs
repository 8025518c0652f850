//! Every program of the zoo, by itself and through a freeze and a thaw, for every user: one test each.
//!
//! `NAME::held_by_USER` proves the program without the engine, `NAME::frozen_as_USER` holds the engine to its word.
#![allow(missing_docs, clippy::panic)]

use std::fs;
use std::path::Path;

use harness::scenario::{self, Places};
use harness::{Program, Specimen, User};

#[path = "zoo/table.rs"]
#[macro_use]
mod table;

const PLACES: Places = Places { zoo: env!("CARGO_BIN_EXE_zoo"), notes: env!("CARGO_TARGET_TMPDIR") };

macro_rules! tests {
    ($($name:ident: $users:ident $(.$option:ident($($value:expr),*))*;)*) => {
        $(mod $name {
            use super::*;
            const PROGRAM: Program = Program::named(stringify!($name))$(.$option($($value),*))*;
            tests!(@ $users);
        })*
    };
    (@ both) => {
        tests!(@ root);
        tests!(@ user);
    };
    (@ root) => {
        #[test]
        fn held_by_root() {
            scenario::held(PLACES, &PROGRAM, User::Root);
        }
        #[test]
        fn frozen_as_root() {
            scenario::frozen(PLACES, &PROGRAM, User::Root);
        }
    };
    (@ user) => {
        #[test]
        fn held_by_user() {
            scenario::held(PLACES, &PROGRAM, User::Ordinary);
        }
        #[test]
        fn frozen_as_user() {
            scenario::frozen(PLACES, &PROGRAM, User::Ordinary);
        }
    };
}
zoo!(tests);

/// The survey must see what changes: these are changed from outside, on a program that was not frozen.
#[test]
fn the_survey_finds_what_changes() {
    let mut specimen = Specimen::start(Path::new(PLACES.zoo), &Program::named("anonymous"), User::Root);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let pid = specimen.pid();
    let before = specimen.survey();
    // SAFETY: takes numbers only.
    assert_eq!(unsafe { libc::setpriority(libc::PRIO_PROCESS, pid as u32, 7) }, 0);
    let limit = libc::rlimit { rlim_cur: 11, rlim_max: 12 };
    // SAFETY: the new limit lives through the call, and the old one is not asked for.
    assert_eq!(unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()) }, 0);
    fs::write(format!("/proc/{pid}/oom_score_adj"), "5").unwrap_or_else(|error| panic!("{error}"));
    fs::write(format!("/proc/{pid}/timerslack_ns"), "98765").unwrap_or_else(|error| panic!("{error}"));
    let found = before.differences(&specimen.survey(), &[]).to_string();
    for name in ["/nice", "limits/Max open files", "oom_score_adj", "/timerslack"] {
        assert!(found.contains(name), "the survey does not see {name}:\n{found}");
    }
    let allowed =
        ["thread/*/nice", "thread/*/priority", "thread/*/scheduler", "thread/*/timerslack", "limits/*", "oom_*"];
    let rest = before.differences(&specimen.survey(), &allowed);
    assert!(rest.is_empty(), "what is allowed is found all the same:\n{rest}");
}
