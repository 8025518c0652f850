//! Several Dormouses at the same time: one at a time has a process in hand, and another one waits for it. And nobody stops
//! whoever traces it: that one would have to run for us to go on.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dormouse_wire::{Pid, Problem, ProblemKind, Tid, phrase};
use nix::unistd::gettid;

use crate::kernel::threads::apart;
use crate::proc::stat::State;
use crate::proc::{self, status};

use super::stopped::Stopped;

/// So long others are waited for. Most are done within some milliseconds; a freeze may take longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// One try.
#[derive(Debug, Default)]
pub struct Turn {
    hindered: AtomicBool,
}

impl Turn {
    /// Takes note whether another Dormouse was in the way.
    pub fn note(&self, stopped: &Stopped) {
        self.hindered.fetch_or(stopped.hindered, Ordering::Relaxed);
    }
}

/// Does the work, again when another Dormouse was in the way; each time in a thread of its own, at whose end nobody is held
/// any more, whatever has happened.
pub fn in_turn<T: Send>(work: impl Fn(&Turn) -> T + Sync) -> T {
    let begin = Instant::now();
    // Two that give way to each other do not begin again at the same moment.
    let pause = Duration::from_millis(5 + u64::from(std::process::id() % 8) * 5);
    loop {
        let turn = Turn::default();
        let done = apart(|| work(&turn));
        if !turn.hindered.into_inner() || begin.elapsed() > PATIENCE {
            return done;
        }
        std::thread::sleep(pause);
    }
}

/// What is said when another Dormouse has a process in hand.
pub fn held_by(other: Pid) -> Problem {
    let what = phrase!("another Dormouse (pid {other}) is at work on it", other);
    Problem::blocks(ProblemKind::Tracer, what).way_out(phrase!("Try again when that one is done"))
}

/// The threads that trace this one: its tracer, the tracer of that one, and so on.
pub fn tracers() -> Vec<Tid> {
    let own = Tid(gettid().as_raw());
    let mut found: Vec<Tid> = Vec::new();
    while let Some(tracer) = tracer_of(found.last().copied().unwrap_or(own)) {
        if tracer == own || found.contains(&tracer) {
            break;
        }
        found.push(tracer);
    }
    found
}

/// A thread is found in /proc by its own number too, though not listed there.
fn tracer_of(thread: Tid) -> Option<Tid> {
    proc::parsed(Pid(thread.0), "status", status::parse).ok()?.tracer
}

/// Whether a thread is ending, or has ended.
pub fn is_ending(thread: Tid) -> bool {
    let state = proc::parsed(Pid(thread.0), "status", status::parse).map(|status| status.state);
    !matches!(state, Ok(state) if !matches!(state, State::Zombie | State::Dead))
}

/// The process of a thread.
pub fn process_of(thread: Tid) -> Pid {
    proc::parsed(Pid(thread.0), "status", status::parse).map_or(Pid(thread.0), |status| status.tgid)
}

/// Whether it runs this command, or a command of this name.
pub fn is_dormouse(pid: Pid) -> bool {
    let program =
        |process: &str| std::fs::read_link(crate::kernel::procfs::path(format!("{process}/exe"))).unwrap_or_default();
    let is_named =
        |path: &PathBuf| path.file_name().is_some_and(|name| name == "dormouse" || name == "dormouse (deleted)");
    let theirs = program(&pid.to_string());
    is_named(&theirs) || !theirs.as_os_str().is_empty() && theirs == program("self")
}
