//! Somebody who has nothing to do with the group: a child of the engine that does nothing, has no capabilities and may be
//! looked into by whoever has its user. What the kernel says of a task and of this one tells what that task is.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};

use dormouse_wire::{Pid, Tid};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};

use super::clone::CloneArguments;
use super::{Answer, Errno, checked};

/// A child that waits. Dropped, it is gone.
#[derive(Debug)]
pub struct Bystander {
    pid: Pid,
    called: Tid,
}

impl Bystander {
    /// Makes one with this user and this group, in a user namespace if one is named.
    ///
    /// The child is a copy of the engine and must neither allocate nor take a lock: it makes system calls only.
    pub fn new(user: u32, group: u32, namespace: Option<BorrowedFd<'_>>) -> Answer<Self> {
        let namespace = namespace.map(|namespace| namespace.as_raw_fd());
        let (mut answers, mut says) = std::io::pipe().map_err(|_| Errno::EMFILE)?;
        let (arguments, parent) = (CloneArguments::default(), std::process::id());
        // SAFETY: without CLONE_VM the child has its own copy of our memory; the arguments live across the call.
        let made = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) };
        if made == 0 {
            let done =
                become_user((user, group), namespace).and_then(|()| become_nobody(parent, says.as_raw_fd() as u32));
            let error = done.err().map_or(0, |errno| errno as i32);
            let _ = says.write_all(&error.to_ne_bytes());
            loop {
                // SAFETY: both calls take integers only; the first one returns where there was nothing to wait for.
                unsafe { libc::syscall(if error == 0 { libc::SYS_pause } else { libc::SYS_exit }, 1) };
            }
        }
        let pid = Pid(checked(made)? as i32);
        let mut bystander = Self { pid, called: Tid(pid.0) };
        drop(says);
        let mut error = [0; 4];
        answers.read_exact(&mut error).map_err(|_| Errno::ECHILD)?;
        match i32::from_ne_bytes(error) {
            0 => {
                // In its own place: a copy of it would end it when this one is dropped.
                bystander.called = called(pid)?;
                Ok(bystander)
            }
            errno => Err(Errno::from_raw(errno)),
        }
    }

    /// Its only thread, as it is called where it lives: children of the engine may be in another pid namespace.
    pub fn tid(&self) -> Tid {
        self.called
    }
}

/// The last number of the line NSpid, proc_pid_status(5). A kernel without pid namespaces has no such line.
pub(super) fn called(pid: Pid) -> Answer<Tid> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(|_| Errno::ESRCH)?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let last = numbers.and_then(|numbers| numbers.split_ascii_whitespace().next_back()?.parse().ok());
    Ok(Tid(last.unwrap_or(pid.0)))
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.pid.0);
        let _ = kill(pid, Signal::SIGKILL);
        // Without a signal at its end, clone(2), it is waited for by __WALL only.
        let _ = waitpid(pid, Some(WaitPidFlag::__WALL));
    }
}

/// Takes on the user, and goes into the user namespace with the right to do so.
fn become_user((user, group): (u32, u32), namespace: Option<i32>) -> Answer<()> {
    const NO_SETUID_FIXUP: u32 = 1 << 2;
    // SAFETY: the raw calls change one thread and take integers only.
    unsafe {
        if namespace.is_some() {
            checked(libc::syscall(libc::SYS_prctl, libc::PR_SET_SECUREBITS, NO_SETUID_FIXUP, 0, 0, 0))?;
        }
        checked(libc::syscall(libc::SYS_setresgid, group, group, group))?;
        checked(libc::syscall(libc::SYS_setresuid, user, user, user))?;
        if let Some(namespace) = namespace {
            checked(libc::syscall(libc::SYS_setns, namespace, libc::CLONE_NEWUSER))?;
        }
    }
    Ok(())
}

/// Lets go of the engine's files, those of the group among them; drops all capabilities, and can be looked into again, which a change of
/// users has ended. ECHILD: the engine has died meanwhile.
fn become_nobody(parent: u32, kept: u32) -> Answer<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let (header, none) = ([VERSION_3, 0], [0_u32; 6]);
    // SAFETY: the raw calls change one thread; capset reads a header of two words and six words of sets.
    unsafe {
        if kept > 0 {
            checked(libc::syscall(libc::SYS_close_range, 0, kept - 1, 0))?;
        }
        checked(libc::syscall(libc::SYS_close_range, kept + 1, u32::MAX, 0))?;
        checked(libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()))?;
        checked(libc::syscall(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0))?;
        checked(libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
        // The engine may have been killed before the signal of its death was asked for.
        let above = checked(libc::syscall(libc::SYS_getppid))?;
        // From a pid namespace further in, the engine is not seen.
        if above == u64::from(parent) || above == 0 { Ok(()) } else { Err(Errno::ECHILD) }
    }
}
