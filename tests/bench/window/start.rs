//! From the start of the program to the first frame that shows the list as it stays.

use std::time::{Duration, Instant};

use super::frames::{Frames, Mouse, Part};
use super::sample::jobs;
use super::stage::{Scenery, Stage};
use super::{line, median};

const BAR: f64 = 500.0;
/// Icons, names and facts of the rows; what is left of the verdicts.
const ROWS: Part = (40, 160, 440, 460);

/// Starts it again and again.
pub fn run(rounds: usize) -> String {
    let mut stage = Stage::empty(Scenery::default());
    stage.serve(jobs(100, 5));
    // In a corner, where it touches no row.
    let mouse = Mouse::at(stage.display(), 999, 719);
    let (mut windows, mut lists) = (Vec::new(), Vec::new());
    // The first start fills the caches.
    for round in 0..=rounds {
        let frames = Frames::watch(stage.display(), ROWS);
        let begin = Instant::now();
        stage.open(&[]);
        if round == 0 {
            stage.eyes.see("Freeze Job 0000");
        }
        let changes = frames.settle(Duration::from_secs(2));
        let since = |at: Instant| at.duration_since(begin).as_secs_f64() * 1e3;
        // The first look is that of the empty display.
        if let (true, Some(first), Some(last)) = (round > 0, changes.get(1), changes.last()) {
            windows.push(since(first.at));
            lists.push(since(last.at));
        }
        stage.app = None;
    }
    drop(mouse);
    let list = line("start to the list of 100 groups", median(lists), BAR, "ms");
    format!("{list}{:>31}: {:7.2} ms\n", "start to the first frame", median(windows))
}
