//! The proof that a workload carried on: its log, recomputed.
//!
//! A log begins with `# NONCE`, a random number that is nowhere else but in the workload's memory. Each line after it is
//! `SEQ STATE SUM {COUNT STATE}`: SEQ counts from 1; STATE is the chain that began with the nonce, one step further; SUM adds
//! up all states so far, which the workload keeps in memory; each pair is a thread's own count and chain, begun with the nonce
//! and the thread's number from 1. A workload that lost a page, a register, a thread or an open file cannot write the next line,
//! and one that was started anew has another nonce. `turn` inverts the state: the workload was sent another way. `~ CLOCK` is a
//! clock of CPU time that began anew. `! REASON` is what a workload found wrong with itself.

use crate::failure::{Failure, Outcome, ensure};

/// What a log proves.
#[derive(Debug, Default)]
pub struct Evidence {
    /// The state of each line.
    pub states: Vec<u64>,
    /// After how many lines the workload was sent another way.
    pub turns: Vec<usize>,
    /// How often a clock of CPU time began anew, by its number.
    pub restarted_clocks: Vec<String>,
    sum: u64,
    threads: Vec<Chain>,
}

#[derive(Debug)]
struct Chain {
    count: u64,
    state: u64,
}

impl Chain {
    fn to(&mut self, count: u64) {
        while self.count < count {
            self.state = step(self.state);
            self.count += 1;
        }
    }
}

fn step(state: u64) -> u64 {
    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}

/// Reads the log of a workload, and fails at the first line that is not what an undisturbed workload would have written.
pub fn examine(log: &str) -> Outcome<Evidence> {
    let mut lines = log.lines();
    let nonce = lines.next().and_then(|line| line.strip_prefix("# "));
    let nonce: u64 = nonce.ok_or_else(|| Failure::new("the log has no head"))?.parse()?;
    let mut evidence = Evidence::default();
    let mut state = nonce;
    let mut faults = Vec::new();
    for line in lines {
        if let Some(fault) = line.strip_prefix("! ") {
            faults.push(format!("after {} lines: {fault}", evidence.states.len()));
        } else if line == "turn" {
            state = !state;
            evidence.turns.push(evidence.states.len());
        } else if let Some(clock) = line.strip_prefix("~ ") {
            evidence.restarted_clocks.push(clock.to_owned());
        } else {
            state = step(state);
            let told = evidence.line(line, nonce, state);
            told.map_err(|why| Failure::new(format!("after {} lines: {line:?}: {why:?}", evidence.states.len())))?;
        }
    }
    faults.dedup();
    ensure!(faults.is_empty(), "the workload found itself wrong:\n{}", faults.join("\n"));
    ensure!(!evidence.threads.iter().any(|chain| chain.count == 0), "a thread has done nothing");
    Ok(evidence)
}

impl Evidence {
    fn line(&mut self, line: &str, nonce: u64, state: u64) -> Outcome {
        let numbers = line.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        ensure!(numbers.len() >= 3, "the line is short");
        self.sum = self.sum.wrapping_add(state);
        self.states.push(state);
        let due = [self.states.len() as u64, state, self.sum];
        ensure!(numbers[..3] == due, "it should begin with {due:?}");
        for (i, pair) in numbers[3..].chunks(2).enumerate() {
            if i == self.threads.len() {
                self.threads.push(Chain { count: 0, state: nonce.wrapping_add(1 + i as u64) });
            }
            let chain = &mut self.threads[i];
            ensure!(pair.len() == 2 && pair[0] >= chain.count, "thread {i} went back from {}", chain.count);
            ensure!(pair[0] - chain.count < 100_000_000, "thread {i} jumped from {} to {}", chain.count, pair[0]);
            chain.to(pair[0]);
            ensure!(pair[1] == chain.state, "thread {i} should be at {}", chain.state);
        }
        Ok(())
    }
}

/// The proof for the pipeline that has come to its end: `log` holds each number and the sum so far, in order; `sorted` all
/// of them once, the largest first. Returns how many there are.
pub fn examine_pipeline(log: &str, sorted: &str) -> Outcome<usize> {
    let (mut count, mut sum) = (0, 0);
    for line in log.lines() {
        count += 1;
        sum += count;
        ensure!(line == format!("{count} {sum}"), "the pipeline wrote {line:?} instead of \"{count} {sum}\"");
    }
    let sorted = sorted.lines().map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    ensure!(
        sorted.iter().copied().eq((1..=count).rev()),
        "the pipeline counted to {count}, and sorted {} numbers",
        sorted.len()
    );
    Ok(count)
}
