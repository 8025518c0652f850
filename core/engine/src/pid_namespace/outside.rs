//! The half that waits: it passes on the signals by which somebody asks for an end, and answers the status that the work has ended
//! with. Both halves are in one process group, so that whoever stops and continues it by that has both.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use dormouse_wire::{Problem, ProblemKind};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::init::{ENDED, FAILED};
use crate::kernel::Errno;

/// The signals by which a person or the system asks for an end.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

fn lost(errno: Errno) -> Problem {
    let what = format!("what is done in the pid namespace cannot be waited for: {}", errno.desc());
    Problem::blocks(ProblemKind::Process, what)
}

/// Waits for the work whose worker is the child of a new namespace's init.
pub fn wait_for_init(control: UnixStream) -> Result<u8, Problem> {
    let signals = watched(&ENDING)?;
    let mut control = control;
    loop {
        let mut both = [&signals.as_fd(), &control.as_fd()].map(|file| PollFd::new(*file, PollFlags::POLLIN));
        match poll(&mut both, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(lost(errno)),
        }
        if let Ok(Some(signal)) = signals.read_signal() {
            // Where the init is gone the end of its socket says so.
            let _ = control.write_all(&[signal.ssi_signo as u8]);
            continue;
        }
        let mut word = [0; 2];
        match control.read_exact(&mut word) {
            Err(_) => return Err(lost(Errno::ECHILD)),
            Ok(()) => match word {
                [ENDED, status] => return Ok(status),
                [FAILED, number] => {
                    let why = Errno::from_raw(number.into()).desc();
                    let what = format!("the init of a pid namespace for the group cannot begin: {why}");
                    return Err(Problem::blocks(ProblemKind::Namespace, what));
                }
                _ => {}
            },
        }
    }
}

/// Waits for the work that a child of our own does.
pub fn wait_for(worker: Pid) -> Result<u8, Problem> {
    let mut watch = ENDING.to_vec();
    watch.push(Signal::SIGCHLD);
    let signals = watched(&watch)?;
    loop {
        match waitpid(worker, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => {}
            Ok(status) => return Ok(shown(status)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(lost(errno)),
        }
        let mut one = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut one, PollTimeout::NONE);
        if let Ok(Some(signal)) = signals.read_signal()
            && let Ok(signal) = Signal::try_from(signal.ssi_signo as i32)
            && signal != Signal::SIGCHLD
        {
            let _ = kill(worker, signal);
        }
    }
}

/// The exit status as a shell would tell it.
pub fn shown(status: WaitStatus) -> u8 {
    match status {
        WaitStatus::Exited(_, status) => status as u8,
        WaitStatus::Signaled(_, signal, _) => 128_u8.saturating_add(signal as i32 as u8),
        _ => 1,
    }
}

fn watched(signals: &[Signal]) -> Result<SignalFd, Problem> {
    let set: SigSet = signals.iter().copied().collect();
    set.thread_block().map_err(lost)?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map_err(lost)
}
