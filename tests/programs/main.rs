//! Real programs: each is frozen in the middle of its work, comes back, and must carry on with all its state to the
//! right result. One file a program.
#![allow(missing_docs, clippy::panic)]

/// The test functions of a program: `carries_on` for each user.
macro_rules! as_each_user {
    ($($test:ident),+) => {
        mod as_root {
            $(#[test]
            fn $test() {
                super::$test(harness::User::Root);
            })+
        }
        mod as_user {
            $(#[test]
            fn $test() {
                super::$test(harness::User::Ordinary);
            })+
        }
    };
}

mod perl;
mod python_threads;
