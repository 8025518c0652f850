//! What a descriptor is asked for by several programs.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::kernel::{at, call, checked, into};

/// fcntl(2) with a number.
pub fn fcntl(fd: &impl AsRawFd, command: i32, argument: i32) -> io::Result<i32> {
    // SAFETY: takes numbers only; commands with pointers are called elsewhere.
    checked(unsafe { libc::fcntl(fd.as_raw_fd(), command, argument) })
}

/// A descriptor that a call has just given, with an owner.
pub fn owned(fd: i64) -> OwnedFd {
    // SAFETY: the descriptor has just been made, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// The position of the open file description.
pub fn position(fd: &impl AsRawFd) -> io::Result<i64> {
    call(libc::SYS_lseek, &[fd.as_raw_fd() as usize, 0, libc::SEEK_CUR as usize])
}

/// read(2), once.
pub fn read(fd: &impl AsRawFd, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; most];
    let length = call(libc::SYS_read, &[fd.as_raw_fd() as usize, into(bytes.as_mut_slice()), most])?;
    bytes.truncate(length as usize);
    Ok(bytes)
}

/// write(2), once.
pub fn write(fd: &impl AsRawFd, bytes: &[u8]) -> io::Result<i64> {
    call(libc::SYS_write, &[fd.as_raw_fd() as usize, bytes.as_ptr() as usize, bytes.len()])
}

/// Whether an error says that the call would have to wait.
pub fn would_wait<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// The `fdinfo` of a descriptor.
pub fn info(fd: &impl AsRawFd) -> String {
    std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap_or_default()
}

/// An epoll set.
pub struct Watched(pub OwnedFd);

impl Watched {
    /// A set that watches nothing.
    pub fn new() -> io::Result<Self> {
        Ok(Self(owned(call(libc::SYS_epoll_create1, &[0])?)))
    }

    /// Watches a descriptor.
    pub fn add(&self, fd: &impl AsRawFd, events: i32, data: u64) -> io::Result<()> {
        let event = libc::epoll_event { events: events as u32, u64: data };
        let fds = [self.0.as_raw_fd() as usize, libc::EPOLL_CTL_ADD as usize, fd.as_raw_fd() as usize];
        call(libc::SYS_epoll_ctl, &[fds[0], fds[1], fds[2], at(&event)]).map(drop)
    }

    /// The data and the events that are ready now, sorted.
    pub fn ready(&self) -> Vec<(u64, u32)> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
        let count = call(libc::SYS_epoll_wait, &[self.0.as_raw_fd() as usize, into(&mut events), 8, 0]).unwrap_or(0);
        let mut found: Vec<(u64, u32)> =
            events[..count as usize].iter().map(|event| (event.u64, event.events)).collect();
        found.sort_unstable();
        found
    }
}
