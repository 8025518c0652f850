//! Faults: the engine killed at every moment, disks that are full, processes that do not stand still, images that lie.
//! Whatever happens, the group runs on or sleeps whole, and nobody is left half-way.
#![allow(missing_docs, clippy::panic)]

mod again;
mod at_once;
mod cancelled;
mod compression;
mod damaged;
mod format;
mod freeze_killed;
mod killer;
mod lies;
mod no_room;
mod pid_taken;
mod restless;
mod thaw_killed;
mod trust;

const ZOO: &str = env!("CARGO_BIN_EXE_zoo");

/// A sweep over so many system calls goes in steps of so many: about this many kills a sweep, or as many as
/// `DORMOUSE_TEST_KILLS` says.
fn step(calls: usize) -> usize {
    let kills = std::env::var("DORMOUSE_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(40);
    calls.div_ceil(kills).max(1)
}

/// What the test itself does must work.
fn done<T>(result: std::io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}
