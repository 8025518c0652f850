//! A process that has ended and waits to be asked for, wait(2): how it ended, and what /proc/PID/status still tells of it.

// zoo: zombies

use dormouse_wire::{Problem, ProblemKind, ProcessName, phrase};
use serde::{Deserialize, Serialize};

use super::credentials::{self, Credentials, Privileges};
use super::signals::{self, Disposition};
use crate::arguments;
use crate::proc::status::Status;
use crate::puppet::Batch;

/// A process that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zombie {
    /// The status of wait(2).
    pub status: i32,
    /// Whom it belonged to: waitid(2) tells that too.
    pub credentials: Credentials,
    /// Signals it had blocked, one bit each.
    pub blocked: u64,
    /// Signals it ignored.
    pub ignored: u64,
    /// Signals it had handlers for.
    pub caught: u64,
}

/// The bit of a status that says that a core file was written.
const CORE: i32 = 0x80;

/// The record.
pub fn capture(status: i32, shown: &Status) -> Zombie {
    Zombie {
        status: status & !CORE,
        // A dead process has no securebits that anybody could see.
        credentials: credentials::of_status(shown, 0),
        blocked: shown.blocked,
        ignored: shown.ignored,
        caught: shown.caught,
    }
}

/// What is lost of it.
pub fn judge(status: i32, process: &ProcessName) -> Option<Problem> {
    let what = phrase!("it has ended with a core file, and nobody has asked for it yet");
    let loss = phrase!("its parent is told that it ended by a signal, but not that a core file was written");
    (status & CORE != 0).then(|| Problem::loses(ProblemKind::Process, what, loss).of(process))
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By exit(2), with this code.
    Code(u8),
    /// By this signal.
    Signal(i32),
}

impl Zombie {
    /// How it ended; none: so nothing can end.
    pub fn end(&self) -> Option<End> {
        const HARMLESS: [i32; 8] = [
            libc::SIGCHLD,
            libc::SIGCONT,
            libc::SIGURG,
            libc::SIGWINCH,
            libc::SIGSTOP,
            libc::SIGTSTP,
            libc::SIGTTIN,
            libc::SIGTTOU,
        ];
        match (self.status & 0x7f, self.status >> 8) {
            (0, code) if self.status & CORE == 0 => u8::try_from(code).ok().map(End::Code),
            (signal @ 1..=64, 0) if !HARMLESS.contains(&signal) => Some(End::Signal(signal)),
            _ => None,
        }
    }

    /// The signals it has blocked as it ends.
    pub fn last_mask(&self) -> u64 {
        match self.end() {
            Some(End::Signal(signal)) => self.blocked & !(1 << (signal - 1)),
            _ => self.blocked,
        }
    }
}

/// Makes a process ready to end in the same way, and as the same.
pub fn restore(record: &Zombie, own: Privileges, batch: &mut Batch) {
    let deadly = match record.end() {
        Some(End::Signal(signal)) => signal,
        _ => 0,
    };
    let set = |set: u64, signal: i32| set >> (signal - 1) & 1 == 1 && signal != deadly;
    // What the handlers were is not known any more, and nothing will run them.
    let dispositions: Vec<_> = (1..=64)
        .filter_map(|signal| match (set(record.ignored, signal), set(record.caught, signal)) {
            (true, _) => Some((signal, libc::SIG_IGN as u64)),
            (_, true) => Some((signal, !0xfff)),
            _ => None,
        })
        .map(|(signal, handler)| Disposition { signal, handler, flags: 0, restorer: 0, mask: 0 })
        .collect();
    signals::restore_dispositions(&dispositions, false, batch);
    if deadly != 0 {
        let none = batch.bytes(&[0; 16]);
        batch.must("forbid core files", libc::SYS_prlimit64, arguments![0, libc::RLIMIT_CORE, none, 0]);
    }
    credentials::restore(&record.credentials, own, batch);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(status: i32) -> Option<End> {
        let credentials = Credentials {
            users: [0; 4],
            groups: [0; 4],
            supplementary: Vec::new(),
            inheritable: 0,
            permitted: 0,
            effective: 0,
            bounding: 0,
            ambient: 0,
            securebits: 0,
            no_new_privileges: false,
        };
        Zombie { status, credentials, blocked: 0, ignored: 0, caught: 0 }.end()
    }

    #[test]
    fn a_status_tells_how_a_process_ended() {
        assert_eq!(with(77 << 8), Some(End::Code(77)));
        assert_eq!(with(libc::SIGTERM), Some(End::Signal(libc::SIGTERM)));
        assert_eq!(with(64), Some(End::Signal(64)));
    }

    #[test]
    fn a_status_with_which_nothing_ends_is_none() {
        for status in
            [256 << 8, -1, 0x7f, libc::SIGSTOP << 8 | 0x7f, 0xffff, libc::SIGCHLD, 65, 1 << 8 | 9, 0x80, i32::MIN]
        {
            assert_eq!(with(status), None, "{status:#x}");
        }
    }
}
