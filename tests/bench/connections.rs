//! How long it takes to find what ties everybody together, on one processor, with a thousand processes and fifty thousand
//! descriptors more than there are; held against `lsof`, which lists the same descriptors, and against what the kernel
//! itself takes to tell of them, below which nobody comes.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dormouse_engine::survey::connections::Connections;
use dormouse_wire::Node;
use nix::unistd::pipe;

use crate::crowd::{Crowd, stay_on_one_processor};
use crate::floor;

/// The name of this bench on the command line.
pub const NAME: &str = "connections";
const PROCESSES: usize = 1000;
/// Each process has both ends of so many pipes, and the next one has them too.
const PIPES: usize = 13;
const BAR: Duration = Duration::from_millis(400);
/// How many times as fast as `lsof`.
const TIMES: f64 = 10.0;

fn pipes() -> Vec<impl Sized> {
    (0..PIPES).map(|_| pipe().unwrap_or_else(|error| panic!("pipe: {error}"))).collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Looks again and again, and says the medians.
pub fn run(rounds: usize) -> String {
    let (mut crowd, mut before) = (Crowd::default(), pipes());
    for _ in 0..PROCESSES {
        let next = pipes();
        crowd.join();
        before = next;
    }
    drop(before);
    stay_on_one_processor();
    let (mut ours, mut theirs, mut bare, mut shared) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()], 0);
    for _ in 0..rounds {
        let begin = Instant::now();
        let found = Connections::look();
        ours.push(begin.elapsed());
        shared = found.graph.nodes.iter().filter(|node| matches!(node, Node::Thing { .. })).count();
        let begin = Instant::now();
        let lsof = Command::new("lsof").args(["-w", "-n", "-P", "-F", "pfti"]).stdout(Stdio::null()).status();
        assert!(lsof.is_ok(), "lsof does not start: {lsof:?}");
        theirs.push(begin.elapsed());
        for (times, modes) in bare.iter_mut().zip([false, true]) {
            let begin = Instant::now();
            let seen = floor::look(modes);
            times.push(begin.elapsed());
            assert!(seen >= PROCESSES * PIPES * 4, "only {seen} descriptors were seen");
        }
    }
    drop(crowd);
    assert!(shared >= (PROCESSES - 1) * PIPES, "only {shared} things are held by several");
    let [ours, theirs] = [ours, theirs].map(|times| median(times).as_secs_f64() * 1e3);
    let [links, modes] = bare.map(|times| median(times).as_secs_f64() * 1e3);
    format!(
        "\n{PROCESSES} processes with {} descriptors, {shared} things between them, on one processor\n{:>20}: {ours:6.1} ms, \
         {:.2} of the bar of {:.0} ms; `lsof` takes {theirs:.0} ms, {:.1} times as long (bar {TIMES})\n{:>20}: {links:6.1} ms to \
         list the descriptors and read their links, {modes:.1} ms with their modes; `lsof` takes {:.1} times as long\n",
        PROCESSES * PIPES * 4,
        "what ties them",
        ours / (BAR.as_secs_f64() * 1e3),
        BAR.as_secs_f64() * 1e3,
        theirs / ours,
        "the kernel alone",
        theirs / modes,
    )
}
