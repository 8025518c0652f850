//! Processes and their descriptors by handle: pidfd_open(2), pidfd_getfd(2), pidfd_send_signal(2).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use dormouse_wire::{FdNumber, Pid};

use super::{Answer, checked};

/// A handle on a process that stays with this process even if its pid is used again. Linux 5.3.
pub fn open(pid: Pid) -> Answer<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let fd = checked(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) })?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A handle on one thread, PIDFD_THREAD. Linux 6.9.
pub fn open_thread(thread: dormouse_wire::Tid) -> Answer<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let fd = checked(unsafe { libc::syscall(libc::SYS_pidfd_open, thread.0, libc::O_EXCL) })?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A handle on a process that has ended and was waited for.
pub fn of_nobody() -> Answer<OwnedFd> {
    // SAFETY: the child has its own copy of our memory, and makes one system call that does not return.
    let child = checked(unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) })? as i32;
    if child == 0 {
        // SAFETY: takes a number; nothing of ours is dropped or flushed.
        unsafe { libc::_exit(0) };
    }
    let handle = open(Pid(child));
    // SAFETY: waits for a child of ours, and wants no status.
    checked(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }.into())?;
    handle
}

/// A duplicate of another process's descriptor: the same open file description. Linux 5.6; wants ptrace access.
pub fn get_fd(process: BorrowedFd<'_>, number: FdNumber) -> Answer<OwnedFd> {
    // SAFETY: pidfd_getfd takes three integers and touches no memory of ours.
    let fd = checked(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number.0, 0) })?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Sends a signal to the process behind the handle.
pub fn send_signal(process: BorrowedFd<'_>, signal: i32) -> Answer<()> {
    // SAFETY: a null siginfo is allowed and means what kill(2) would send.
    checked(unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0)
    })
    .map(drop)
}

/// Waits until the process has ended, whoever its parent is.
pub fn wait_for_end(process: &OwnedFd) -> Answer<()> {
    let mut one = [nix::poll::PollFd::new(process.as_fd(), nix::poll::PollFlags::POLLIN)];
    loop {
        match nix::poll::poll(&mut one, nix::poll::PollTimeout::NONE) {
            Ok(_) => return Ok(()),
            Err(super::Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
