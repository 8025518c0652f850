//! Every program of the zoo, by itself and through a freeze and a thaw, for every user: one test each.
//!
//! `NAME::held_by_USER` proves the program without the engine, `NAME::frozen_as_USER` holds the engine to its word.
#![allow(missing_docs, clippy::panic)]

use harness::scenario::{self, Places};
use harness::{Program, User};

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
