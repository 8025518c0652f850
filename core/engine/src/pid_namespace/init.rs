//! The init of a pid namespace of ours: it makes the worker, adopts and reaps whoever loses its parent, and ends when nobody is
//! left. Until the group runs, its own end ends all: nothing of a thaw is left half-done when somebody kills it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use dormouse_wire::Problem;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};

use super::outside::shown;
use crate::kernel::{Answer, Errno, namespaces};
use crate::proc;

/// From the worker: the group runs.
pub const RUNS: u8 = b'r';
/// To whoever waits outside: the worker has ended, and its status.
pub const ENDED: u8 = b'e';
/// The worker could not be made, and the error.
pub const FAILED: u8 = b'f';

/// Between two looks at whether anybody is left who is not our child, milliseconds.
const BREATH: u16 = 500;

/// Becomes the init, and returns in the worker, whose pid is `own`, with a socket to the init.
pub fn begin(mut control: UnixStream, own: i32) -> Result<UnixStream, Problem> {
    match prepare(own) {
        Ok((worker, init)) => match worker {
            namespaces::Side::Child => {
                drop(control);
                Ok(init)
            }
            namespaces::Side::Parent(worker) => attend(control, init, worker),
        },
        Err(errno) => {
            let _ = control.write_all(&[FAILED, errno as i32 as u8]);
            std::process::exit(1)
        }
    }
}

fn prepare(own: i32) -> Answer<(namespaces::Side, UnixStream)> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    namespaces::own_mounts_with_proc()?;
    namespaces::next_pid(own).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
    let (ours, theirs) = UnixStream::pair().map_err(|_| Errno::EMFILE)?;
    let side = namespaces::fork()?;
    Ok((side, if side == namespaces::Side::Child { theirs } else { ours }))
}

/// Never returns.
fn attend(mut control: UnixStream, mut worker_says: UnixStream, worker: Pid) -> ! {
    let _ = setsid();
    let _ = prctl::set_name(c"dormouse-init");
    let failed = |control: &mut UnixStream, errno: Errno| -> ! {
        let _ = control.write_all(&[FAILED, errno as i32 as u8]);
        std::process::exit(1)
    };
    // Nobody is to wait for the end of a pipe that only we hold.
    if let Err(errno) = hold_nothing(&control, &worker_says) {
        failed(&mut control, errno);
    }
    let all = SigSet::all();
    let ended: SigSet = [Signal::SIGCHLD].into_iter().collect();
    let signals = all.thread_block().and_then(|()| SignalFd::with_flags(&ended, SfdFlags::SFD_NONBLOCK));
    let signals = signals.unwrap_or_else(|errno| failed(&mut control, errno));
    let (mut runs, mut someone_waits) = (false, true);
    loop {
        let has_children = reap(&mut control, &mut worker_says, worker, &mut runs);
        let mut files = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if someone_waits {
            files.push(PollFd::new(control.as_fd(), PollFlags::POLLIN));
        }
        if !runs {
            files.push(PollFd::new(worker_says.as_fd(), PollFlags::POLLIN));
        }
        // Only who is not our child ends without a word to us.
        let _ = poll(&mut files, if has_children { PollTimeout::NONE } else { PollTimeout::from(BREATH) });
        let ready: Vec<bool> = files.iter().map(|file| file.any().unwrap_or_default()).collect();
        while matches!(signals.read_signal(), Ok(Some(_))) {}
        if !runs && ready.last() == Some(&true) {
            runs = has_said(&mut worker_says);
        }
        let mut byte = [0];
        if someone_waits && ready.get(1) == Some(&true) {
            match control.read(&mut byte) {
                Ok(1) => {
                    if let Ok(signal) = Signal::try_from(i32::from(byte[0])) {
                        let _ = kill(worker, signal);
                    }
                }
                // Whoever waited is gone.
                _ if runs => someone_waits = false,
                _ => std::process::exit(1),
            }
        }
    }
}

/// Takes leave of everybody that has ended, and ends with the last one. Where the worker ends before the group runs, so does all.
/// Whether there are children left.
fn reap(control: &mut UnixStream, worker_says: &mut UnixStream, worker: Pid, runs: &mut bool) -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
            Ok(WaitStatus::StillAlive) => return true,
            Ok(status @ (WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..))) if pid == worker => {
                // It may have said so with its last breath.
                *runs = *runs || has_said(worker_says);
                let _ = control.write_all(&[ENDED, shown(status)]);
                if !*runs {
                    std::process::exit(0);
                }
            }
            Ok(_) | Err(Errno::EINTR) => {}
            // Our end would be that of a Dormouse that has come in to look at the group, or of anybody else who has.
            Err(_) if is_alone() => std::process::exit(0),
            Err(_) => return false,
        }
    }
}

/// Whether nobody else lives in the namespace.
fn is_alone() -> bool {
    proc::list_pids().is_ok_and(|pids| pids.len() == 1)
}

/// Whether the worker has said that the group runs, which then is in nobody's hand any more.
fn has_said(worker_says: &mut UnixStream) -> bool {
    let mut byte = [0];
    let said =
        worker_says.set_nonblocking(true).is_ok() && matches!(worker_says.read(&mut byte), Ok(1)) && byte == [RUNS];
    if said {
        let _ = prctl::set_pdeathsig(None);
    }
    said
}

/// Closes all that came from outside, and is in nobody's way as a user of a filesystem.
fn hold_nothing(control: &UnixStream, worker_says: &UnixStream) -> Answer<()> {
    namespaces::close_all_but([control.as_fd(), worker_says.as_fd()])?;
    nix::unistd::chdir("/")?;
    let nothing = File::options().read(true).write(true).open("/dev/null").map_err(|_| Errno::ENOENT)?;
    nix::unistd::dup2_stdin(&nothing)?;
    nix::unistd::dup2_stdout(&nothing)?;
    nix::unistd::dup2_stderr(&nothing)
}
