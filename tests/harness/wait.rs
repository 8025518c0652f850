//! Waiting with a limit. The limits are generous: a test that hangs must end, and a slow machine must not fail it.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything may take that should take a moment.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Asks every few milliseconds until there is an answer; `None` when the limit has passed.
pub fn until<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        sleep(Duration::from_millis(2));
    }
}
