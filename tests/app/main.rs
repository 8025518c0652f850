//! The window itself, on a display that nobody sees, with a service that plays its part: what it shows, what it asks, and what
//! it says.
#![allow(missing_docs, clippy::panic)]

mod calls;
mod contrast;
mod decisions;
mod eyes;
mod fake;
mod graph;
mod languages;
mod lists;
mod notices;
mod pictures;
mod sample;
mod stage;
mod tray;
mod whole;

/// What must not fail in a test.
fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}
