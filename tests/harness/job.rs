//! A real program at work: it naps at moments of no one's choosing, and must end with the right result all the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::command::{self, Outcome};
use crate::process::Stat;
use crate::wait::{PATIENCE, until};
use crate::{Program, Specimen, User, group};

/// A started program. Dropping it ends every process of it.
#[derive(Debug)]
pub struct Job {
    specimen: Specimen,
    name: &'static str,
    peak: u64,
    insists: bool,
}

impl Job {
    /// Starts a program in a folder of its own; `command` is told the folder, and may put files there.
    pub fn start(name: &'static str, user: User, command: impl FnOnce(&Path) -> Command) -> Self {
        let program = Program::named(name);
        Self { specimen: Specimen::launch(&program, user, command), name, peak: 0, insists: false }
    }

    /// Starts a script: `words`, then the file that holds it, under this name, then its arguments.
    pub fn script(words: &[&str], user: User, (file, text): (&'static str, &str), arguments: &[&str]) -> Self {
        Self::start(file, user, |folder| {
            let path = folder.join(file);
            fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).arg(path).args(arguments);
            command
        })
    }

    /// The program itself, for what only some tests ask.
    pub fn specimen(&mut self) -> &mut Specimen {
        &mut self.specimen
    }

    /// What it has written to its standard output.
    pub fn said(&self) -> String {
        fs::read(self.specimen.folder().join("out"))
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default()
    }

    /// The most memory that Dormouse itself took for it so far, bytes.
    pub fn peak(&self) -> u64 {
        self.peak
    }

    /// Waits until it has written `text`.
    pub fn wait_for(&self, text: &str) {
        let said = until(PATIENCE, || self.said().contains(text).then_some(()));
        assert!(said.is_some(), "{} has not said `{text}`, but:\n{}{}", self.name, self.said(), self.specimen.errors());
    }

    /// Makes the file `name` in its folder: programs wait for such files.
    pub fn make(&self, name: &str) {
        let path = self.specimen.folder().join(name);
        fs::write(&path, "").unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Freezes it, sees that nothing of it is left, and thaws it. The program may be as busy as it likes.
    pub fn nap(&mut self) {
        let frozen = self.fall_asleep();
        self.wake_up(&frozen);
    }

    /// Naps so many times, at moments that differ from run to run.
    pub fn nap_often(&mut self, times: u32) {
        for time in 0..times {
            let moment = moment(Duration::from_millis(150));
            eprintln!("nap {time} of {} after {moment:?}", self.name);
            std::thread::sleep(moment);
            self.nap();
        }
    }

    /// Freezes it; the processes that were frozen.
    pub fn fall_asleep(&mut self) -> BTreeSet<i32> {
        let known = self.specimen.members();
        let (pid, image) = (self.specimen.pid().to_string(), self.specimen.image());
        let image = image.to_string_lossy();
        let freeze = ["freeze", "--json", &pid, "-o", &image];
        let mut outcome = self.run(&freeze, &known);
        // A server accepts a connection a moment after it has been made, and news are read. It is told to the person, who tries again.
        for _ in 0..MOMENTS {
            if outcome.status.success() || !PASSING.iter().any(|passing| outcome.said.contains(passing)) {
                break;
            }
            eprintln!("{} was about to accept a connection, or to hear news", self.name);
            std::thread::sleep(Duration::from_millis(20));
            outcome = self.run(&freeze, &known);
        }
        self.expect_success(&outcome, "freeze");
        let frozen = pids(&outcome);
        assert!(frozen.contains(&self.specimen.pid()), "the group was frozen without its first process: {frozen:?}");
        self.specimen.assert_asleep(&frozen);
        let left = self.specimen.members();
        assert!(left.is_empty(), "these of {} were not frozen: {left:?}", self.name);
        frozen
    }

    /// Who wakes it insists on its numbers, and tries again where others were faster: as a person would who wants no pid namespace. For
    /// programs with sandboxes, whose numbers can only be named to the kernel.
    #[must_use]
    pub fn by_its_numbers(mut self) -> Self {
        self.insists = true;
        self
    }

    /// Thaws it.
    pub fn wake_up(&mut self, frozen: &BTreeSet<i32>) {
        let image = self.specimen.image();
        let when = if self.insists { "never" } else { "taken" };
        let thaw = ["thaw", "--json", "--pid-namespace", when, &image.to_string_lossy()];
        let mut outcome = self.run(&thaw, &BTreeSet::new());
        for _ in 0..3 * MOMENTS {
            if !self.insists || outcome.status.success() || !outcome.said.contains("\"pid-taken\"") {
                break;
            }
            eprintln!("others have numbers of {}", self.name);
            std::thread::sleep(Duration::from_millis(250));
            // What a thaw has begun and ended again is ours to bury, where its parent has gone before it.
            group::reap(frozen);
            outcome = self.run(&thaw, &BTreeSet::new());
        }
        self.expect_success(&outcome, "thaw");
        assert_eq!(&pids(&outcome), frozen, "thawed (left) is not what was frozen (right)");
        assert!(Stat::of(self.specimen.pid()).is_some(), "{} is not there after the thaw", self.name);
        fs::remove_file(&image).unwrap_or_else(|error| panic!("{}: {error}", image.display()));
    }

    /// Waits until the program has ended by itself, with success; what it wrote.
    pub fn end(&mut self) -> String {
        let pid = self.specimen.pid();
        let mut status = 0;
        // SAFETY: `status` lives through the call, and WNOHANG keeps it from waiting.
        let ended = || (unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } == pid).then_some(());
        let ended = until(PATIENCE, ended).is_some();
        let words = format!("{}{}", self.said(), self.specimen.errors());
        assert!(ended, "{} does not come to an end; it said:\n{words}", self.name);
        assert!(
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
            "{} ended with status {status:#x}; it said:\n{words}",
            self.name
        );
        self.said()
    }

    fn run(&mut self, arguments: &[&str], known: &BTreeSet<i32>) -> Outcome {
        let folder = self.specimen.image();
        let outcome = command::run(arguments, folder.parent().unwrap_or(&folder), || group::reap(known));
        self.peak = self.peak.max(outcome.peak);
        outcome
    }

    fn expect_success(&self, outcome: &Outcome, what: &str) {
        let words = format!("{}{}", self.said(), self.specimen.errors());
        assert!(
            outcome.status.success(),
            "`dormouse {what}` of {} failed with {}:\n{}\nThe program had said:\n{words}",
            self.name,
            outcome.status,
            outcome.said
        );
    }
}

/// So often a freeze is tried again that met what passes by itself: a connection about to be accepted, news of the network that other
/// tests change, and the answer of a name server.
const MOMENTS: usize = 20;
const PASSING: [&str; 3] = [
    "it has sent something to a program that has not accepted the connection yet",
    "messages of the kernel wait in it",
    "datagrams wait in it which cannot be put there again",
];

/// The processes that the command lists with `--json`.
fn pids(outcome: &Outcome) -> BTreeSet<i32> {
    let value: Value = serde_json::Deserializer::from_str(&outcome.said)
        .into_iter()
        .next()
        .and_then(Result::ok)
        .unwrap_or_else(|| panic!("this is not JSON:\n{}", outcome.said));
    let processes = value["processes"].as_array().unwrap_or_else(|| panic!("no processes are listed:\n{value}"));
    processes.iter().filter_map(|process| Some(process["pid"].as_i64()? as i32)).collect()
}

/// Some time below `longest`, another at every call.
fn moment(longest: Duration) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_nanos(u64::from(now.subsec_nanos()).wrapping_mul(2654435761) % longest.as_nanos() as u64)
}
