//! A survey of a group made from `/proc` alone, and the comparison of two.
//!
//! A snapshot is a flat table: process, name of the fact, value. Names are paths such as `fd/3/pos`,
//! `thread/1234/SigBlk` or `mapping/7f00…-7f01…/protection`; a pattern of an allow list is compared with them, `*` standing for
//! anything. What only this moment knows is left out (resident sizes, counters, CPU times), numbers that only this
//! boot knows (inodes of pipes, mount ids) are replaced by their order of appearance, so that what is shared is compared
//! and the number is not.

mod descriptors;
mod memory;
mod numbers;
mod processes;
mod sharing;
mod threads;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use numbers::Numbers;

/// The value of a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fact {
    /// Compared letter by letter.
    Text(String),
    /// The time that is left until a timer expires: it runs on, so it is compared with the time that has passed.
    Left { left: Duration, interval: Duration },
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Left { left, interval } => write!(f, "{left:?} left, interval {interval:?}"),
        }
    }
}

/// What the group looked like at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    taken: Instant,
    facts: BTreeMap<(i32, String), Fact>,
}

/// What differs between two snapshots, one line each.
#[derive(Clone, Debug, Default)]
pub struct Differences(Vec<String>);

/// A snapshot in the making.
struct Collector {
    facts: BTreeMap<(i32, String), Fact>,
    numbers: Numbers,
    pid: i32,
    /// A thread of it that has not ended, through which its memory and descriptors can be seen.
    live: i32,
}

impl Collector {
    fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.facts.insert((self.pid, name.into()), Fact::Text(value.into()));
    }

    fn add_left(&mut self, name: impl Into<String>, left: Duration, interval: Duration) {
        self.facts.insert((self.pid, name.into()), Fact::Left { left, interval });
    }
}

impl Snapshot {
    /// Surveys these processes. They must hold still: one that goes away meanwhile is an error.
    pub fn take(members: &BTreeSet<i32>) -> Result<Self, String> {
        let mut collector = Collector { facts: BTreeMap::new(), numbers: Numbers::default(), pid: 0, live: 0 };
        for pid in members {
            collector.pid = *pid;
            processes::collect(&mut collector, members)?;
        }
        sharing::collect(&mut collector, members);
        Ok(Self { taken: Instant::now(), facts: collector.facts })
    }

    /// What differs in `after` and is not allowed to.
    pub fn differences(&self, after: &Self, allowed: &[&str]) -> Differences {
        let elapsed = after.taken.duration_since(self.taken);
        let names: BTreeSet<_> = self.facts.keys().chain(after.facts.keys()).collect();
        let mut differences = Vec::new();
        for key in names {
            let (pid, name) = key;
            if allowed.iter().any(|pattern| matches(pattern, name)) {
                continue;
            }
            match (self.facts.get(key), after.facts.get(key)) {
                (Some(one), Some(two)) if same(one, two, elapsed) => {}
                (Some(one), Some(two)) => {
                    differences.push(format!("pid {pid}: {name}\n    before: {one}\n    after:  {two}"));
                }
                (Some(one), None) => {
                    differences.push(format!("pid {pid}: {name}\n    before: {one}\n    after:  (gone)"));
                }
                (None, Some(two)) => {
                    differences.push(format!("pid {pid}: {name}\n    before: (not there)\n    after:  {two}"));
                }
                (None, None) => {}
            }
        }
        Differences(differences)
    }

    /// The text of one fact, for tests that look at one thing.
    pub fn fact(&self, pid: i32, name: &str) -> Option<String> {
        self.facts.get(&(pid, name.to_owned())).map(ToString::to_string)
    }
}

impl Differences {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// A timer may have run on for as long as the time between the snapshots, and not longer; a periodic one is anywhere
/// within its interval, or at zero when it has expired and nobody has asked it since (the kernel rearms it only then). A tenth of a second is the noise of the machine.
fn same(before: &Fact, after: &Fact, elapsed: Duration) -> bool {
    const NOISE: Duration = Duration::from_millis(100);
    match (before, after) {
        (Fact::Left { left: one, interval }, Fact::Left { left: two, interval: other }) => {
            let earliest = one.saturating_sub(elapsed + NOISE);
            let armed = one.is_zero() == two.is_zero() || earliest.is_zero();
            let within = (earliest..=*one + NOISE).contains(two) || (!interval.is_zero() && two <= interval);
            interval == other && armed && within
        }
        _ => before == after,
    }
}

/// Whether a pattern with `*` describes a name.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|tail| {
            (0..=tail.len()).filter(|at| tail.is_char_boundary(*at)).any(|at| matches(rest, &tail[at..]))
        }),
    }
}

/// Bytes as readable text, with nothing lost.
fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        assert!(matches("fd/*/pos", "fd/3/pos"));
        assert!(matches("*", "anything"));
        assert!(!matches("fd/*/pos", "fd/3/flags"));
        assert!(!matches("fd", "fd/3"));
    }

    #[test]
    fn a_timer_may_run_on_and_not_back() {
        let left = |millis, interval| Fact::Left {
            left: Duration::from_millis(millis),
            interval: Duration::from_millis(interval),
        };
        let second = Duration::from_secs(1);
        assert!(same(&left(5000, 0), &left(4200, 0), second));
        assert!(!same(&left(5000, 0), &left(3000, 0), second));
        assert!(!same(&left(5000, 0), &left(6000, 0), second));
        assert!(same(&left(10, 300), &left(290, 300), second));
        assert!(!same(&left(5000, 0), &left(0, 0), second));
        assert!(same(&left(10, 300), &left(0, 300), second));
        assert!(!same(&left(10, 300), &left(10, 200), second));
    }

    #[test]
    fn the_tests_own_process_does_not_differ_from_itself() {
        let own = BTreeSet::from([std::process::id() as i32]);
        let snapshot = Snapshot::take(&own).unwrap_or_else(|error| panic!("{error}"));
        assert!(snapshot.fact(std::process::id() as i32, "exe").is_some());
        assert!(snapshot.differences(&snapshot, &[]).is_empty());
    }
}
