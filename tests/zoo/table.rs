//! The zoo's table: one line a program. Its name is that of its module in `main.rs`; then come the users that run it
//! (`root`, `user` or `both`) and what the harness must know about it (`harness::Program`).
//!
//! This file is included twice: by `main.rs`, to find a program, and by the tests, to run each of them.

macro_rules! zoo {
    ($each:ident) => {
        $each! {
            anonymous: both;
            private_file: both;
            shared_file: both;
            shared_anonymous: both;
            memfd: both;
            heap: both;
            guards: both;
            eventfd: both;
            pipe: both;
            regular_file: both;
            capabilities: root;
            zombies: both;
            sleeps: both;
            pending_signals: both;
            threads: both;
        }
    };
}
