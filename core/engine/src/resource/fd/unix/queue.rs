//! What waits in a unix socket: bytes with their borders, descriptors on their way, who has sent them.
//!
//! It is looked at and left where it is, recvmsg(2) with MSG_PEEK. To look beyond the first message, and at who sent
//! each, SO_PEEK_OFF and SO_PASSCRED are set for that moment and put back.

// zoo: no kind

use std::os::fd::{AsFd, OwnedFd};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::super::FileId;
use super::name::Name;
use crate::kernel::socket::{self, Sender};
use crate::kernel::{Answer, Errno, files};

/// A message that waits in a socket; in a stream, bytes that were sent together or could have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The bytes.
    pub bytes: ByteBuf,
    /// The open files on their way with it, SCM_RIGHTS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileId>,
    /// Pid, user and group of its sender, where the kernel has noted them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<(i32, u32, u32)>,
    /// From where it was sent.
    pub from: From,
}

/// From where a message was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum From {
    /// From the socket that this one is connected with.
    Peer,
    /// From this socket.
    Socket(FileId),
    /// From a socket that the group does not have, of this name.
    Name(Option<Name>),
}

/// A message as it was seen; its descriptors are ours.
#[derive(Debug)]
pub struct Seen {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The descriptors on their way with it.
    pub files: Vec<OwnedFd>,
    /// Who has sent it.
    pub credentials: Option<Sender>,
    /// The name of the socket it came from.
    pub from: Option<Name>,
}

/// Options that are changed while we look.
struct Looking<'a, F: AsFd> {
    socket: &'a F,
    offset: i32,
    credentials: i32,
}

impl<'a, F: AsFd> Looking<'a, F> {
    fn begin(socket: &'a F) -> Answer<Self> {
        let offset = socket::option(socket, libc::SO_PEEK_OFF)?;
        let credentials = socket::option(socket, libc::SO_PASSCRED)?;
        let looking = Self { socket, offset, credentials };
        socket::set_option(socket, libc::SO_PASSCRED, 1)?;
        Ok(looking)
    }

    fn at(&self, offset: usize) -> Answer<()> {
        socket::set_option(self.socket, libc::SO_PEEK_OFF, i32::try_from(offset).map_err(|_| Errno::EFBIG)?)
    }
}

impl<F: AsFd> Drop for Looking<'_, F> {
    fn drop(&mut self) {
        let back = socket::set_option(self.socket, libc::SO_PASSCRED, self.credentials).and(socket::set_option(
            self.socket,
            libc::SO_PEEK_OFF,
            self.offset,
        ));
        if let Err(error) = back {
            tracing::error!(%error, "a socket did not get its options back");
        }
    }
}

/// All that waits in a socket of this type, oldest first. A socket with an error must not be asked: the answer takes it.
pub fn look(socket: &impl AsFd, kind: i32) -> Answer<Vec<Seen>> {
    if kind == libc::SOCK_STREAM { look_at_stream(socket) } else { look_at_messages(socket) }
}

/// Never beyond the end: there the kernel would answer an error that waits, and forget it.
fn look_at_stream(socket: &impl AsFd) -> Answer<Vec<Seen>> {
    let whole = files::bytes_waiting(socket)?;
    let mut seen = Vec::new();
    if whole == 0 {
        return Ok(seen);
    }
    let looking = Looking::begin(socket)?;
    let mut at = 0;
    while at < whole {
        looking.at(at)?;
        let mut found = taken(socket::peek(socket, whole - at)?)?;
        if found.bytes.is_empty() {
            return Err(Errno::EIO);
        }
        // Descriptors come with the last piece of what was read in one go; what stands before it carries none.
        if !found.files.is_empty() {
            looking.at(at)?;
            let before = socket::start_of_last(socket, found.bytes.len())?;
            if before > 0 {
                let rest = found.bytes.split_off(before);
                let files = std::mem::take(&mut found.files);
                at += before;
                seen.push(found);
                let credentials = seen.last().and_then(|before| before.credentials);
                found = Seen { bytes: rest, files, credentials, from: None };
            }
        }
        at += found.bytes.len();
        seen.push(found);
    }
    Ok(seen)
}

/// An empty message is seen once only; one that somebody looked at before behind others cannot be seen any more.
fn look_at_messages(socket: &impl AsFd) -> Answer<Vec<Seen>> {
    let looking = Looking::begin(socket)?;
    let (mut at, mut room) = (0, 64 * 1024);
    let mut seen = Vec::new();
    socket::set_option(socket, libc::SO_PEEK_OFF, -1)?;
    loop {
        let found = match socket::peek(socket, room) {
            Ok(found) => found,
            Err(Errno::EAGAIN) => return Ok(seen),
            Err(error) => return Err(error),
        };
        if found.cut {
            room *= 4;
        } else if found.sender.is_none() {
            // The end of what was sent: a message would tell its sender.
            return Ok(seen);
        } else {
            at += found.bytes.len();
            seen.push(taken(found)?);
        }
        looking.at(at)?;
    }
}

fn taken(found: socket::Message) -> Answer<Seen> {
    // A time stamp comes with whatever is read; other things are not known here.
    const STAMPS: [i32; 5] = [29, 35, 37, 63, 64];
    if found
        .other
        .is_some_and(|(level, kind)| level != libc::SOL_SOCKET || !STAMPS.contains(&kind) && kind != SCM_SECURITY)
    {
        return Err(Errno::EOPNOTSUPP);
    }
    // Where nothing was noted the kernel shows pid 0.
    let credentials = found.sender.filter(|(pid, ..)| *pid != 0);
    let from = found.from.and_then(|path| Name::of(&path));
    Ok(Seen { bytes: found.bytes, files: found.files, credentials, from })
}

const SCM_SECURITY: i32 = 3;

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn descriptors_in_a_stream_keep_their_place() -> Result<(), Errno> {
        let (one, other) = socket::taken_over(socket::unix_pair(libc::SOCK_STREAM)?);
        socket::send(&one, b"before", &[], None, None)?;
        socket::send(&one, b"with", &[one.as_raw_fd()], None, None)?;
        socket::send(&one, b"again", &[one.as_raw_fd(), other.as_raw_fd()], None, None)?;
        socket::send(&one, b"after", &[], None, None)?;
        for _ in 0..2 {
            let seen = look(&other, libc::SOCK_STREAM)?;
            let parts: Vec<_> = seen.iter().map(|seen| (seen.bytes.as_slice(), seen.files.len())).collect();
            assert_eq!(parts, [(&b"before"[..], 0), (b"with", 1), (b"again", 2), (b"after", 0)]);
        }
        assert_eq!((socket::option(&other, libc::SO_PEEK_OFF)?, socket::option(&other, libc::SO_PASSCRED)?), (-1, 0));
        Ok(())
    }

    #[test]
    fn messages_keep_their_borders() -> Result<(), Errno> {
        for kind in [libc::SOCK_SEQPACKET, libc::SOCK_DGRAM] {
            let (one, other) = socket::taken_over(socket::unix_pair(kind)?);
            let large = vec![b'L'; 150_000];
            for bytes in [&b"one"[..], b"", &large, b"three"] {
                socket::send(&one, bytes, &[], None, None)?;
            }
            let seen = look(&other, kind)?;
            let lengths: Vec<_> = seen.iter().map(|seen| seen.bytes.len()).collect();
            assert_eq!(lengths, [3, 0, 150_000, 5]);
            assert!(seen.iter().all(|seen| seen.credentials.is_none() && seen.from.is_none()));
            drop(one);
            assert_eq!(look(&other, kind)?.len(), 3, "the empty one was looked at, and the end is no message");
        }
        Ok(())
    }
}
