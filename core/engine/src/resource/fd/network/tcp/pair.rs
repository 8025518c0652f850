//! Making both ends of a connection without a packet: each is told, in TCP_REPAIR mode, that it is connected to the other.

// zoo: no kind

use std::hash::{BuildHasher, RandomState};
use std::os::fd::OwnedFd;

use super::super::address::Address;
use super::{Record, Stream};
use crate::kernel::repair::{self, Agreed, Queue};
use crate::kernel::{Answer, Errno, inet, socket};

/// Lengths of queues from here on are made room for.
const MUCH: usize = 16 * 1024;

/// Most that a queue can hold, bytes.
const AMPLE: i32 = 1 << 29;

/// An end to be made.
#[derive(Debug)]
pub struct End<'a> {
    /// The socket, new.
    pub socket: OwnedFd,
    /// Where it is to be.
    pub own: Address,
    /// What is to be in it.
    pub stream: &'a Stream,
}

/// Makes a socket for an end, of which others may have the address, too.
pub fn open(record: &Record) -> Answer<OwnedFd> {
    let made = inet::open(record.family, libc::SOCK_STREAM, record.protocol)?;
    record.inode.restore(&made)?;
    reuse(&made)?;
    record.options.prepare(&made)?;
    Ok(made)
}

/// While the group is built, no socket of it is in the way of another one.
pub fn reuse(socket: &OwnedFd) -> Answer<()> {
    inet::set_option(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)
}

/// Binds a socket that is to be connected, even where others are connected from the same port.
pub fn bind_beside(socket: &OwnedFd, own: &Address) -> Answer<()> {
    repair::begin(socket)?;
    let bound = own.bytes().and_then(|bytes| inet::bind(socket, &bytes));
    repair::end(socket)?;
    reuse(socket)?;
    bound
}

/// Connects two ends with each other and puts into them what was there.
pub fn join<'a>(one: &mut End<'a>, other: &mut End<'a>) -> Answer<()> {
    let start = RandomState::new().hash_one(0);
    let starts = (start as u32, (start >> 32) as u32);
    for end in [&mut *one, &mut *other] {
        repair::begin(&end.socket)?;
        inet::bind(&end.socket, &end.own.bytes()?)?;
        // The port may have been left to the kernel.
        end.own = Address::own(&end.socket).ok_or(Errno::EADDRNOTAVAIL)?;
    }
    connect(one, other, starts.0, starts.1)?;
    connect(other, one, starts.1, starts.0)?;
    let windows = (repair::window(&one.socket)?, repair::window(&other.socket)?);
    let own = (offered(one, other, windows.0), offered(other, one, windows.1));
    open_windows(one, own.0, own.1, starts.1)?;
    open_windows(other, own.1, own.0, starts.0)?;
    for end in [one, other] {
        repair::end(&end.socket)?;
        reuse(&end.socket)?;
    }
    Ok(())
}

/// `sent`, `received`: where the bytes of the two directions begin.
fn connect(end: &End<'_>, other: &End<'_>, sent: u32, received: u32) -> Answer<()> {
    let length = u32::try_from(other.stream.received.len()).map_err(|_| Errno::EFBIG)?;
    repair::set_sequence(&end.socket, Queue::Sent, sent.wrapping_add(length))?;
    repair::set_sequence(&end.socket, Queue::Received, received)?;
    let family = socket::option(&end.socket, libc::SO_DOMAIN)?;
    inet::connect(&end.socket, &other.own.of_family(family).bytes()?)?;
    let (own, theirs) = (end.stream, other.stream);
    repair::agree(
        &end.socket,
        Agreed {
            segment: theirs.segment.clamp(48, 65_535),
            scale: own.scale.map(|(theirs, own)| (theirs.min(14), own.min(14))),
            selective: own.selective,
            stamps: own.stamps,
        },
    )?;
    with_room(&end.socket, libc::SO_RCVBUF, own.received.len(), || {
        repair::fill(&end.socket, Queue::Received, &own.received)
    })
}

/// The window of an end, bytes: none where much waits in it already and more would come.
fn offered(end: &End<'_>, other: &End<'_>, usual: u32) -> u32 {
    let finished = other.stream.shutdown & 2 != 0 && end.stream.coming.is_empty();
    if end.stream.received.len() < MUCH || finished { usual } else { 0 }
}

fn open_windows(end: &End<'_>, own: u32, theirs: u32, received: u32) -> Answer<()> {
    let received = received.wrapping_add(end.stream.received.len() as u32);
    repair::set_windows(&end.socket, own, theirs, received)
}

/// Sends what had not come yet at the other end. It takes it when it likes.
pub fn send_rest(socket: &OwnedFd, coming: &[u8]) -> Answer<()> {
    with_room(socket, libc::SO_SNDBUF, coming.len(), || send_all(socket, coming))
}

/// Sends all of it, for which there is room.
pub fn send_all(socket: &OwnedFd, bytes: &[u8]) -> Answer<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let sent = inet::send(socket, rest, &[])?;
        rest = rest.get(sent..).unwrap_or_default();
    }
    Ok(())
}

/// Does something while a buffer has room for so much; then it is as large as before, and the kernel goes on choosing.
pub fn with_room(socket: &OwnedFd, buffer: i32, length: usize, work: impl FnOnce() -> Answer<()>) -> Answer<()> {
    const BUF_LOCK: i32 = 72;
    if length < MUCH {
        return work();
    }
    let force = if buffer == libc::SO_RCVBUF { libc::SO_RCVBUFFORCE } else { libc::SO_SNDBUFFORCE };
    let before = socket::option(socket, buffer)?;
    socket::set_option(socket, force, AMPLE)?;
    let done = work();
    socket::set_option(socket, force, before / 2)?;
    socket::set_option(socket, BUF_LOCK, 0)?;
    done
}
