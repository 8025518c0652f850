//! The half that waits: it passes on the signals by which somebody asks for an end, and answers the status that the work has ended
//! with. Both halves are in one process group, so that whoever stops and continues it by that has both.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use dormouse_wire::{Frozen, Problem, ProblemKind, phrase};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::init::{ENDED, FAILED};
use super::{Side, capsule};
use crate::kernel::{Errno, pidfd};

/// The signals by which a person or the system asks for an end.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

fn lost(errno: Errno) -> Problem {
    let what = phrase!("what is done in the pid namespace cannot be waited for: {why}", why = errno.desc());
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
                    let what = phrase!("the init of a pid namespace for the group cannot begin: {why}", why);
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

/// Waits for the work that a child of our own does within a capsule, and ends the capsule by its init where the child says that it sleeps.
pub fn wait_or_end(worker: Pid, control: UnixStream, init: &OwnedFd) -> Result<Side, Problem> {
    let mut watch = ENDING.to_vec();
    watch.push(Signal::SIGCHLD);
    let signals = watched(&watch)?;
    let mut control = Some(control);
    loop {
        match waitpid(worker, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
            Ok(status) => return Ok(Side::Outside(shown(status))),
            Err(errno) => return Err(lost(errno)),
        }
        let mut files = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        files.extend(control.as_ref().map(|control| PollFd::new(control.as_fd(), PollFlags::POLLIN)));
        let _ = poll(&mut files, PollTimeout::NONE);
        let said = files.get(1).and_then(PollFd::any) == Some(true);
        if let Ok(Some(signal)) = signals.read_signal()
            && let Ok(signal) = Signal::try_from(signal.ssi_signo as i32)
            && signal != Signal::SIGCHLD
        {
            let _ = kill(worker, signal);
        }
        if let Some(mut control) = control.take_if(|_| said) {
            let mut told = Vec::new();
            let _ = control.read_to_end(&mut told);
            // What it has begun to say with its last breath counts for nothing.
            if let Ok(frozen) = ciborium::from_reader::<Frozen, _>(told.as_slice()) {
                end(worker, init, &frozen)?;
                return Ok(Side::Frozen(Box::new(frozen)));
            }
        }
    }
}

/// Ends a capsule, whose image is sealed.
fn end(worker: Pid, init: &OwnedFd, frozen: &Frozen) -> Result<(), Problem> {
    const PATIENCE: u16 = 30_000;
    let sent = pidfd::send_signal(init.as_fd(), libc::SIGKILL);
    if let Err(errno @ (Errno::EPERM | Errno::EINVAL)) = sent {
        let what = phrase!("the group could not be ended after its image was sealed: {why}", why = errno.desc());
        let problem = Problem::blocks(ProblemKind::Process, what).at(frozen.image.display().to_string());
        return Err(problem.way_out(phrase!("Remove the image: the group runs on beside it")));
    }
    let _ = waitpid(worker, None);
    if !capsule::has_ended(init, PATIENCE) {
        tracing::warn!("the group has not ended yet");
    }
    Ok(())
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
