//! How much memory the window has after each page was open, with a hundred groups.

use std::fmt::Write;
use std::thread::sleep;
use std::time::Duration;

use super::sample::{jobs, world};
use super::stage::{Scenery, Stage};
use super::usage;

/// MiB in memory.
const BAR: f64 = 150.0;

/// Opens one page after the other.
pub fn run() -> String {
    let mut all = world();
    let more = jobs(100 - all.groups.len() as i32, 5);
    all.groups.extend(more.groups);
    all.verdicts.extend(more.verdicts);
    let mut stage = Stage::empty(Scenery::default());
    stage.serve(all);
    stage.open(&[]);
    stage.eyes.see("Freeze Text Editor");
    let mut table = String::new();
    let mut note = |stage: &Stage, page: &str| {
        // Until what moves has come to rest.
        sleep(Duration::from_secs(1));
        let (resident, own) = usage::memory(stage.app.as_ref().map_or(0, super::stage::Program::pid));
        let over = if resident > BAR { " !" } else { "" };
        let _ = writeln!(
            table,
            "{page:>31}: {resident:7.2} MiB, {:.2} of the bar of {BAR} MiB; {own:.0} MiB its own{over}",
            resident / BAR
        );
    };
    note(&stage, "memory, running");
    stage.call("open", Some("editor"));
    stage.eyes.read("one thing stands in the way");
    note(&stage, "and the verdict");
    stage.eyes.press("Connections");
    stage.eyes.see("Legend");
    note(&stage, "and connections");
    stage.eyes.press("Processes");
    stage.eyes.see("language-server");
    note(&stage, "and processes");
    stage.call("show-asleep", None);
    stage.eyes.see("Chess engine");
    note(&stage, "and asleep");
    stage.call("open-image", Some("old.dormouse"));
    stage.eyes.see("Export…");
    note(&stage, "and an image");
    stage.call("preferences", None);
    stage.eyes.see("Ask before freezing");
    note(&stage, "and preferences");
    table
}
