//! `dormouse pause` and `dormouse resume` with real programs: by SIGSTOP, by the freezers of control groups, by systemd.
//! Every run of the command is a process of its own, so that each resume proves that a pause outlives its maker.
#![allow(missing_docs, clippy::panic)]

mod control_group;
mod freezer;
mod meanwhile;
mod signal;
mod systemd;
mod terminal;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::group::MARK;
use harness::process::Stat;
use harness::wait::{PATIENCE, until};
use harness::{Job, User, command};
use serde_json::Value;

/// A pipeline that counts, as fast as it is not busy.
const COUNT: &str = "
while :; do echo $((++i)); sleep 0.01; done | while read n; do echo $n > count.new; mv count.new count; done
";

/// What a run of the command came to.
struct Answer {
    succeeded: bool,
    /// What it wrote, standard output and then standard error, its lines joined: they are broken anywhere.
    said: String,
    out: String,
}

impl Answer {
    fn expect_success(self) -> Self {
        assert!(self.succeeded, "it failed:\n{}", self.said);
        self
    }

    /// Panics unless it failed and said these words.
    fn expect_refusal(self, words: &str) {
        assert!(!self.succeeded && self.said.contains(words), "`{words}` is not said:\n{}", self.said);
    }

    fn json(self) -> Value {
        let answer = self.expect_success();
        serde_json::from_str(&answer.out).unwrap_or_else(|error| panic!("{error}:\n{}", answer.out))
    }
}

fn dormouse(arguments: &[&str]) -> Answer {
    dormouse_with(arguments, &[])
}

fn dormouse_with(arguments: &[&str], environment: &[(&str, &str)]) -> Answer {
    let mut dormouse = Command::new(command::path());
    dormouse.args(arguments).env_remove(MARK).envs(environment.iter().copied()).stdin(Stdio::null());
    answer(&mut dormouse)
}

fn answer(command: &mut Command) -> Answer {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = format!("{out}{}", String::from_utf8_lossy(&output.stderr));
    Answer { succeeded: output.status.success(), said: said.split_whitespace().collect::<Vec<_>>().join(" "), out }
}

/// `dormouse pause --json`; the answer.
fn pause(pid: i32) -> Value {
    dormouse(&["pause", "--json", &pid.to_string()]).json()
}

/// `dormouse resume --json`; the answer.
fn resume(pid: i32) -> Value {
    dormouse(&["resume", "--json", &pid.to_string()]).json()
}

/// The pids in an answer.
fn pids(answer: &Value) -> BTreeSet<i32> {
    let processes = answer["processes"].as_array().unwrap_or_else(|| panic!("no processes are listed:\n{answer}"));
    processes.iter().filter_map(|process| Some(process["pid"].as_i64()? as i32)).collect()
}

/// A counting pipeline that has begun to count.
fn counting(user: User) -> Job {
    let mut job = Job::script(&["bash"], user, ("count.sh", COUNT), &[]);
    assert_counts(&count_of(&mut job));
    job
}

/// The file with the number that a job has come to.
fn count_of(job: &mut Job) -> PathBuf {
    job.specimen().folder().join("count")
}

fn number(count: &Path) -> String {
    fs::read_to_string(count).unwrap_or_default()
}

/// Panics if the counter does not go on.
fn assert_counts(count: &Path) {
    let before = number(count);
    let goes_on = until(PATIENCE, || (number(count) != before).then_some(()));
    assert!(goes_on.is_some(), "it does not count: it stands at {before}");
}

/// Panics if the counter goes on.
fn assert_stands_still(count: &Path) {
    let before = number(count);
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(number(count), before, "it counts, though it is paused");
    }
}

fn state(pid: i32) -> char {
    Stat::of(pid).map_or('-', |stat| stat.state())
}

/// The file that remembers a group stopped by root.
fn record_of(pid: i32) -> Option<PathBuf> {
    let entries = fs::read_dir("/run/dormouse").into_iter().flatten().flatten();
    let begins = format!("{pid}-");
    entries
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&begins)))
}
