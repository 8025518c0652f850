//! The service on a bus: what it does for a user, and what for nobody. Real freezes and thaws by a real service on a bus of
//! the test's own; polkit is stood in for, but for one test with the real one.
#![allow(clippy::panic, missing_docs)]

mod client;
mod connections;
mod control_groups;
mod folder;
mod forged;
mod life;
mod machine;
mod polkit;
mod reach;
mod scope;
mod security;
mod session;
mod sleep;
mod wishes;

/// The programs that are frozen.
const ZOO: &str = env!("CARGO_BIN_EXE_zoo");
