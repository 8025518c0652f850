//! From the first of a thousand groups to the last by the wheel, a notch each sixtieth of a second.

use std::thread::sleep;
use std::time::Duration;

use super::frames::{Frames, Mouse, Part};
use super::sample::jobs;
use super::stage::Stage;
use super::{line, median};

/// The longest time between two frames, milliseconds.
const BAR: f64 = 50.0;
const NOTCH: Duration = Duration::from_micros(16_667);
/// Names and facts of some rows: what moves with the list, and does not change by itself.
const ROWS: Part = (100, 200, 100, 200);
/// Still for so long, the list is at its end.
const STILL: Duration = Duration::from_millis(600);
const MOST_NOTCHES: usize = 6000;

/// Scrolls once for each round.
pub fn run(rounds: usize) -> String {
    let (mut longest, mut usual, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let gaps = scroll();
        counts.push(gaps.len() as f64);
        longest.push(gaps.iter().copied().fold(0.0, f64::max));
        usual.push(median(gaps));
    }
    let worst = longest.iter().copied().fold(0.0, f64::max);
    format!(
        "{}{:>31}: {:.0} frames, {:.1} ms between two; the longest stall of all rounds {worst:.1} ms\n",
        line("longest stall over 1,000 groups", median(longest), BAR, "ms"),
        "the whole way",
        median(counts),
        median(usual)
    )
}

/// The times between frames on nine tenths of the way down, milliseconds.
fn scroll() -> Vec<f64> {
    let stage = Stage::with(jobs(1000, 1));
    stage.eyes.see("Freeze Job 0000");
    sleep(Duration::from_secs(2));
    let mouse = Mouse::at(stage.display(), 400, 400);
    sleep(Duration::from_secs(1));
    let frames = Frames::watch(stage.display(), ROWS);
    for notch in 0..MOST_NOTCHES {
        mouse.turn();
        sleep(NOTCH);
        if notch > 100 && frames.changes().last().is_some_and(|frame| frame.at.elapsed() > STILL) {
            break;
        }
    }
    let moved = frames.changes();
    drop(frames);
    stage.eyes.see("Freeze Job 0999");
    // Where it arrives the list comes to rest, and then asks and draws once more: that is no stall on the way.
    let way = &moved[..moved.len() - moved.len() / 10];
    way.windows(2).map(|two| two[1].at.duration_since(two[0].at).as_secs_f64() * 1e3).collect()
}
