//! How long a survey of everybody takes on one processor, with a thousand processes more than there are.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dormouse_engine::survey::everyone::Everyone;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// The name of this bench on the command line.
pub const NAME: &str = "everyone";
const PROCESSES: usize = 1000;
/// The first survey, and a repeated one.
const BARS: [Duration; 2] = [Duration::from_millis(400), Duration::from_millis(80)];

/// Processes that do nothing; they end with this.
struct Crowd(Vec<Child>);

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Surveys again and again, and says the medians.
pub fn run(rounds: usize) -> String {
    let start = || Command::new("sleep").arg("600").stdin(Stdio::null()).spawn();
    let crowd = Crowd((0..PROCESSES).map(|_| start().unwrap_or_else(|error| panic!("sleep: {error}"))).collect());
    // The threads that the survey makes are on this processor, too.
    let mut one = CpuSet::new();
    one.set(0).and_then(|()| sched_setaffinity(Pid::from_raw(0), &one)).unwrap_or_else(|error| panic!("{error}"));
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
