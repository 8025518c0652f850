//! Shared setup of the tests: what every test that freezes and thaws something needs, and nothing about one kind.
//!
//! - [`Program`] is one line of the zoo's table: a name, and what the harness must know about it;
//! - [`scenario`] is the story of a test: [`held`](scenario::held) proves the program itself without the engine,
//!   [`frozen`](scenario::frozen) sends it through a freeze and a thaw, [`refused`](scenario::refused) proves that
//!   what cannot be frozen goes on unharmed;
//! - [`Specimen`] is a started program with its folder; whatever it started is ended when it is dropped;
//! - [`Job`] is a real program, with what `tests/programs/` asks of one: it naps, and must end well;
//! - [`packaged`] is a program with a library and a file of its own, for tests that take them away;
//! - [`session`] is a user of a test's own, with programs of his;
//! - [`terminal`] is a terminal program in the hands of a test;
//! - [`graph`] tells the ties that `dormouse check` has found;
//! - [`group`] finds the processes that belong to it;
//! - [`Snapshot`] is a survey of the group made from `/proc` alone, and the comparison of two of them. It shares no
//!   code with the engine, so that one cannot hide what the other misses;
//! - [`said`] holds `dormouse check` against `dormouse freeze`: every freeze of the zoo proves that they agree;
//! - [`rewrite`] makes of an image what another machine would have written;
//! - [`forge`] makes of an image one that claims something else;
//! - [`command`] runs the real `dormouse`.
//!
//! A test process becomes a child subreaper, so that orphans come to it and are reaped at once. Everything here
//! panics with a sentence when something does not hold: it runs in tests only.
#![allow(clippy::panic, clippy::missing_panics_doc)]

pub mod alone;
pub mod command;
pub mod forge;
pub mod graph;
pub mod group;
pub mod huge_pages;
pub mod job;
pub mod packaged;
pub mod pids;
pub mod process;
pub mod program;
pub mod rewrite;
pub mod said;
pub mod scenario;
pub mod session;
pub mod snapshot;
pub mod specimen;
pub mod terminal;
pub mod wait;

pub use job::Job;
pub use program::{Program, User};
pub use snapshot::Snapshot;
pub use specimen::Specimen;
