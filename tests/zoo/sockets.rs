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

/// A unix socket of this type that does not wait.
pub fn socket(kind: i32) -> io::Result<OwnedFd> {
    Ok(owned(call(libc::SYS_socket, &[libc::AF_UNIX as usize, (kind | libc::SOCK_NONBLOCK) as usize, 0])?))
}

/// `struct sockaddr_un` with this `sun_path`, and its length.
fn address(path: &[u8]) -> Vec<u8> {
    [&(libc::AF_UNIX as u16).to_ne_bytes(), path].concat()
}

/// bind(2); an empty name: the kernel chooses one.
pub fn bind(socket: &impl AsRawFd, path: &[u8]) -> io::Result<i64> {
    let address = address(path);
    call(libc::SYS_bind, &[socket.as_raw_fd() as usize, at(address.as_slice()), address.len()])
}

/// connect(2).
pub fn connect(socket: &impl AsRawFd, path: &[u8]) -> io::Result<i64> {
    let address = address(path);
    call(libc::SYS_connect, &[socket.as_raw_fd() as usize, at(address.as_slice()), address.len()])
}

/// `sun_path` of the socket's own name or of its peer's, without the zero behind a path.
pub fn name(socket: &impl AsRawFd, peer: bool) -> Vec<u8> {
    let (mut bytes, mut length) = ([0_u8; 112], 112_u32);
    let number = if peer { libc::SYS_getpeername } else { libc::SYS_getsockname };
    if call(number, &[socket.as_raw_fd() as usize, into(&mut bytes), into(&mut length)]).is_err() {
        return b"no peer".to_vec();
    }
    path_of(&bytes, length)
}

fn path_of(address: &[u8], length: u32) -> Vec<u8> {
    let path = address.get(2..length as usize).unwrap_or_default();
    if path.first() == Some(&0) { path.to_vec() } else { path.strip_suffix(&[0]).unwrap_or(path).to_vec() }
}

/// The pid that SO_PEERCRED shows.
pub fn peer_pid(socket: &impl AsRawFd) -> io::Result<i32> {
    let (mut peer, mut length) = ([0_i32; 3], 12_u32);
    let option = libc::SO_PEERCRED as usize;
    let arguments =
        [socket.as_raw_fd() as usize, libc::SOL_SOCKET as usize, option, into(&mut peer), into(&mut length)];
    call(libc::SYS_getsockopt, &arguments).map(|_| peer[0])
}

/// A datagram, the name it was sent from, and the pid of its sender (0: none is told).
pub fn receive_from(socket: &impl AsRawFd) -> io::Result<(Vec<u8>, Vec<u8>, i32)> {
    let (mut bytes, mut name, mut control) = ([0_u8; 1000], [0_u8; 112], [0_u64; 16]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all zeros are a valid header.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = name.as_mut_ptr().cast();
    header.msg_namelen = name.len() as u32;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control);
    // SAFETY: all that the header points to is as long as it says.
    let length = checked(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) })?;
    // SO_PASSCRED is the only option that adds anything: the pid comes right behind the header of 16 bytes.
    let pid = if header.msg_controllen >= 28 { control[2] as i32 } else { 0 };
    Ok((bytes[..length as usize].to_vec(), path_of(&name, header.msg_namelen), pid))
}

/// A socket of the network that does not wait.
pub fn inet(family: i32, kind: i32) -> io::Result<OwnedFd> {
    Ok(owned(call(libc::SYS_socket, &[family as usize, (kind | libc::SOCK_NONBLOCK) as usize, 0])?))
}

/// `struct sockaddr_in`, or `struct sockaddr_in6` for an address of 16 bytes.
pub fn inet_address(ip: &[u8], port: u16) -> Vec<u8> {
    let four = ip.len() == 4;
    let family = if four { libc::AF_INET } else { libc::AF_INET6 } as u16;
    let parts = [&family.to_ne_bytes()[..], &port.to_be_bytes(), if four { &[] } else { &[0; 4] }, ip];
    let mut bytes = parts.concat();
    bytes.resize(if four { 16 } else { 28 }, 0);
    bytes
}

/// bind(2) to an address in the network.
pub fn bind_to(socket: &impl AsRawFd, ip: &[u8], port: u16) -> io::Result<i64> {
    let address = inet_address(ip, port);
    call(libc::SYS_bind, &[socket.as_raw_fd() as usize, at(address.as_slice()), address.len()])
}

/// connect(2) to an address in the network.
pub fn connect_to(socket: &impl AsRawFd, ip: &[u8], port: u16) -> io::Result<i64> {
    let address = inet_address(ip, port);
    call(libc::SYS_connect, &[socket.as_raw_fd() as usize, at(address.as_slice()), address.len()])
}

/// The port of a socket of the network; 0: none.
pub fn port(socket: &impl AsRawFd) -> io::Result<u16> {
    let (mut bytes, mut length) = ([0_u8; 28], 28_u32);
    call(libc::SYS_getsockname, &[socket.as_raw_fd() as usize, into(&mut bytes), into(&mut length)])?;
    Ok(u16::from_be_bytes([bytes[2], bytes[3]]))
}

/// How many bytes wait to be read.
pub fn waiting(socket: &impl AsRawFd) -> io::Result<usize> {
    let mut count = 0_i32;
    call(libc::SYS_ioctl, &[socket.as_raw_fd() as usize, libc::FIONREAD as usize, into(&mut count)])?;
    Ok(count as usize)
}

/// Which of these events it has, poll(2).
pub fn poll(socket: &impl AsRawFd, events: i16) -> i16 {
    let mut entry = libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 };
    let asked = call(libc::SYS_poll, &[into(&mut entry), 1, 0]);
    if asked.is_ok() { entry.revents } else { -1 }
}

/// A datagram, and where it came from.
pub fn receive_datagram(socket: &impl AsRawFd) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let (mut bytes, mut from, mut length) = (vec![0_u8; 70_000], vec![0_u8; 28], 28_u32);
    let arguments = [
        socket.as_raw_fd() as usize,
        into(bytes.as_mut_slice()),
        bytes.len(),
        libc::MSG_DONTWAIT as usize,
        into(from.as_mut_slice()),
        into(&mut length),
    ];
    let received = call(libc::SYS_recvfrom, &arguments)?;
    bytes.truncate(received as usize);
    from.truncate(length as usize);
    Ok((bytes, from))
}
