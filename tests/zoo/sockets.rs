//! Sockets as several programs use them.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::descriptors::owned;
use crate::kernel::{at, call, checked, into};

/// A pair of connected unix sockets of this type.
pub fn pair(kind: i32) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0_i32; 2];
    call(libc::SYS_socketpair, &[libc::AF_UNIX as usize, kind as usize, 0, into(&mut fds)])?;
    Ok((owned(i64::from(fds[0])), owned(i64::from(fds[1]))))
}

/// send(2) without a wait.
pub fn send(socket: &impl AsRawFd, bytes: &[u8]) -> io::Result<isize> {
    // SAFETY: the bytes are as many as is said.
    checked(unsafe {
        libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    })
}

/// recv(2) without a wait, with more flags.
pub fn receive(socket: &impl AsRawFd, flags: i32) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0_u8; 70_000];
    // SAFETY: the buffer is as long as is said.
    let length =
        unsafe { libc::recv(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), flags | libc::MSG_DONTWAIT) };
    bytes.truncate(checked(length)? as usize);
    Ok(bytes)
}

/// Sets an option that is a number.
pub fn set(socket: &impl AsRawFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    call(libc::SYS_setsockopt, &[socket.as_raw_fd() as usize, level as usize, option as usize, at(&value), 4]).map(drop)
}

/// An option that is a number.
pub fn get(socket: &impl AsRawFd, level: i32, option: i32) -> io::Result<i32> {
    let (mut value, mut length) = (0_i32, 4_u32);
    let arguments = [socket.as_raw_fd() as usize, level as usize, option as usize, into(&mut value), into(&mut length)];
    call(libc::SYS_getsockopt, &arguments).map(|_| value)
}
