//! What a descriptor is asked for by several programs.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::kernel::{call, checked, into};

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
