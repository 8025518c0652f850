//! The nice value of a session's autogroup, sched(7).

use std::fs;

use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    // SAFETY: takes nothing.
    unsafe { libc::setsid() };
    if let Err(error) = fs::write("/proc/self/autogroup", "7") {
        return cannot(format!("autogroup: {error}"));
    }
    stage.keeps(|wrong| {
        let found = fs::read_to_string("/proc/self/autogroup").unwrap_or_default();
        wrong.holds("nice 7", found.trim().ends_with(" nice 7"));
    })
}
