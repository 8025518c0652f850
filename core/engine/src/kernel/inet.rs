//! Sockets of the network: ip(7), tcp(7), udp(7), netlink(7). Addresses are `struct sockaddr` as bytes.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::{Answer, Errno, checked};

/// A socket that does not block, socket(2).
pub fn open(family: i32, kind: i32, protocol: i32) -> Answer<OwnedFd> {
    // SAFETY: socket takes integers.
    let made = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol) };
    let number = checked(made.into())? as i32;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has its number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// An option, getsockopt(2), as many bytes as the kernel gives; what is `asked` stands in the buffer before.
pub fn option_bytes(socket: &impl AsFd, level: i32, option: i32, asked: &[u8], most: usize) -> Answer<Vec<u8>> {
    let mut bytes = vec![0_u8; most.max(asked.len())];
    bytes[..asked.len()].copy_from_slice(asked);
    let mut length = bytes.len() as libc::socklen_t;
    let number = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `length` bytes, which the vector holds.
    let result = unsafe { libc::getsockopt(number, level, option, bytes.as_mut_ptr().cast(), &raw mut length) };
    checked(result.into())?;
    bytes.truncate(length as usize);
    Ok(bytes)
}

/// An option that is a number; some are one byte long.
pub fn option(socket: &impl AsFd, level: i32, option: i32) -> Answer<i32> {
    match option_bytes(socket, level, option, &[], 4)?[..] {
        [one] => Ok(i32::from(one)),
        [a, b, c, d] => Ok(i32::from_ne_bytes([a, b, c, d])),
        _ => Err(Errno::EINVAL),
    }
}

/// Sets an option, setsockopt(2).
pub fn set_option_bytes(socket: &impl AsFd, level: i32, option: i32, bytes: &[u8]) -> Answer<()> {
    let length = bytes.len() as libc::socklen_t;
    // SAFETY: the kernel reads as many bytes as the slice holds.
    let result = unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, bytes.as_ptr().cast(), length) };
    checked(result.into()).map(drop)
}

/// Sets an option that is a number.
pub fn set_option(socket: &impl AsFd, level: i32, option: i32, value: i32) -> Answer<()> {
    set_option_bytes(socket, level, option, &value.to_ne_bytes())
}

/// bind(2).
pub fn bind(socket: &impl AsFd, address: &[u8]) -> Answer<()> {
    let length = address.len() as libc::socklen_t;
    // SAFETY: the kernel reads as many bytes as the slice holds.
    checked(unsafe { libc::bind(socket.as_fd().as_raw_fd(), address.as_ptr().cast(), length) }.into()).map(drop)
}

/// connect(2).
pub fn connect(socket: &impl AsFd, address: &[u8]) -> Answer<()> {
    let length = address.len() as libc::socklen_t;
    // SAFETY: the kernel reads as many bytes as the slice holds.
    checked(unsafe { libc::connect(socket.as_fd().as_raw_fd(), address.as_ptr().cast(), length) }.into()).map(drop)
}

/// Sends bytes, without a wait: where to, if it is not connected there. Answers how many were taken.
pub fn send(socket: &impl AsFd, bytes: &[u8], to: &[u8]) -> Answer<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let number = socket.as_fd().as_raw_fd();
    let address = if to.is_empty() { std::ptr::null() } else { to.as_ptr().cast() };
    let length = to.len() as libc::socklen_t;
    // SAFETY: the kernel reads as many bytes as the slices hold; without an address its length is 0.
    let sent = unsafe { libc::sendto(number, bytes.as_ptr().cast(), bytes.len(), flags, address, length) };
    checked(sent as libc::c_long).map(|sent| sent as usize)
}

/// What waits first, looked at and left where it is: at most `room` bytes of it, how long it is in all, and from which
/// address it came (empty: none is told).
pub fn peek(socket: &impl AsFd, room: usize) -> Answer<(Vec<u8>, usize, Vec<u8>)> {
    let (mut bytes, mut from) = (vec![0_u8; room], vec![0_u8; size_of::<libc::sockaddr_storage>()]);
    let mut length = from.len() as libc::socklen_t;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    let number = socket.as_fd().as_raw_fd();
    // SAFETY: both buffers are as long as is said and live through the call.
    let got = unsafe {
        libc::recvfrom(number, bytes.as_mut_ptr().cast(), room, flags, from.as_mut_ptr().cast(), &raw mut length)
    };
    let whole = checked(got as libc::c_long)? as usize;
    bytes.truncate(whole);
    from.truncate(length as usize);
    Ok((bytes, whole, from))
}

/// The first bytes that wait in a stream, looked at and left where they are.
pub fn peek_stream(socket: &impl AsFd, length: usize) -> Answer<Vec<u8>> {
    let mut bytes = vec![0_u8; length];
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the buffer is as long as is said and lives through the call.
    let got = unsafe { libc::recv(socket.as_fd().as_raw_fd(), bytes.as_mut_ptr().cast(), length, flags) };
    bytes.truncate(checked(got as libc::c_long)? as usize);
    Ok(bytes)
}
