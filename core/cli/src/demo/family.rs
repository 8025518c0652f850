//! Children, and the children of children that have ended: the demonstration buries them all, so that nothing depends
//! on an init that may be missing in a container.

use std::process::Command;

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::exit::Failure;

/// From now on, orphans among our descendants become our children, PR_SET_CHILD_SUBREAPER(2const).
pub fn adopt_orphans() -> Result<(), Failure> {
    set_child_subreaper(true).map_err(|errno| Failure::system("Orphans cannot be adopted", &errno.into()))
}

/// Runs a command to its end, and buries whoever else ends meanwhile. Answers its status, 128 and more for a signal.
pub fn run(command: &mut Command) -> Result<i32, Failure> {
    let child = command.spawn().map_err(|error| Failure::system("A command cannot be started", &error))?;
    let pid = Pid::from_raw(child.id() as i32);
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(ended, code)) if ended == pid => return Ok(code),
            Ok(WaitStatus::Signaled(ended, signal, _)) if ended == pid => return Ok(128 + signal as i32),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Failure::system("A command cannot be waited for", &errno.into())),
        }
    }
}

/// Buries every child that has ended.
pub fn bury() -> Result<(), Failure> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Failure::system("Children cannot be waited for", &errno.into())),
        }
    }
}
