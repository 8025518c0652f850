//! Whether a process runs or stands still, from the states of all its threads.

use dormouse_wire::Pid;

use crate::proc;
use crate::proc::stat::{self, State};

/// How a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A thread of it runs, or would if it were woken.
    Runs,
    /// Some threads wait in the kernel and hear nothing (`D`), the others are stopped. They run no code of the program: a
    /// process that waits for its vfork(2) child stands so, and stops the moment that wait is over.
    Waits,
    /// All its threads are stopped.
    Stopped,
    /// No thread lives.
    Ended,
}

impl Standing {
    /// Whether no thread runs.
    pub fn is_still(self) -> bool {
        matches!(self, Self::Stopped | Self::Waits)
    }
}

/// How a process stands now.
pub fn of(pid: Pid) -> Standing {
    let mut standing = Standing::Ended;
    for tid in proc::list_threads(pid).unwrap_or_default() {
        let state = proc::parsed_thread(pid, tid, "stat", stat::parse).map(|stat| stat.state);
        standing = match (state, standing) {
            (Err(_) | Ok(State::Zombie | State::Dead), before) => before,
            (Ok(State::Stopped | State::Traced), Standing::Ended) => Standing::Stopped,
            (Ok(State::Stopped | State::Traced), before) => before,
            (Ok(State::DiskSleep), Standing::Ended | Standing::Stopped) => Standing::Waits,
            (Ok(State::DiskSleep), before) => before,
            (Ok(_), _) => return Standing::Runs,
        };
    }
    standing
}

/// Those that have not ended.
pub fn living(members: &[Pid]) -> Vec<Pid> {
    members.iter().copied().filter(|pid| of(*pid) != Standing::Ended).collect()
}
