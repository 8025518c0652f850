//! How long a survey of everybody takes on one processor, with a thousand processes more than there are.

use std::time::{Duration, Instant};

use dormouse_engine::survey::everyone::Everyone;

use crate::crowd::{Crowd, stay_on_one_processor};

/// The name of this bench on the command line.
pub const NAME: &str = "everyone";
const PROCESSES: usize = 1000;
/// The first survey, and a repeated one.
const BARS: [Duration; 2] = [Duration::from_millis(400), Duration::from_millis(80)];

/// Surveys again and again, and says the medians.
pub fn run(rounds: usize) -> String {
    let mut crowd = Crowd::default();
    (0..PROCESSES).for_each(|_| crowd.join());
    stay_on_one_processor();
    let mut times = [Vec::new(), Vec::new()];
    let mut seen = 0;
    for _ in 0..rounds {
        let mut everyone = Everyone::new();
        for times in &mut times {
            let begin = Instant::now();
            seen = everyone.look().map_or(0, <[_]>::len);
            times.push(begin.elapsed());
        }
    }
    drop(crowd);
    assert!(seen >= PROCESSES, "only {seen} processes were seen");
    let told = times.each_mut().map(|times| {
        times.sort_unstable();
        times[times.len() / 2]
    });
    let words = ["the first survey", "a repeated one"];
    let line = |index: usize| {
        let (time, bar) = (told[index].as_secs_f64() * 1e3, BARS[index].as_secs_f64() * 1e3);
        format!("{:>20}: {time:6.1} ms, {:.2} of the bar of {bar:.0} ms\n", words[index], time / bar)
    };
    format!("\n{seen} processes on one processor\n{}{}", line(0), line(1))
}
