//! A connection to a display server that nobody can make wait: every wait ends at a moment set beforehand, and what the
//! server sends has a limit. Whoever listens at the name of a display may be anybody.

use std::cell::{Cell, RefCell};
use std::io::{self, Error, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use dormouse_wire::Pid;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use x11rb::rust_connection::{PollMode, Stream};
use x11rb::utils::RawFdContainer;

use super::sockets::Place;
use crate::kernel::socket::{self, UnixAddress};
use crate::kernel::{Answer, Errno};

/// How many bytes a server may send in all.
const MOST: usize = 16 << 20;
/// How many bytes one packet of it may have.
const LARGEST_PACKET: u64 = 1 << 20;

/// The connection.
#[derive(Debug)]
pub struct Bounded {
    socket: UnixStream,
    end: Instant,
    received: Cell<usize>,
    packets: RefCell<Packets>,
}

impl Bounded {
    /// Connects to a display. A full queue is waited for: EAGAIN, connect(2).
    pub fn connect(place: Place, number: u32, end: Instant) -> Answer<Self> {
        let address = UnixAddress::new(&place.path(number))?;
        let socket = socket::unix(libc::SOCK_STREAM)?;
        loop {
            match socket::connect(&socket, &address) {
                Err(Errno::EAGAIN) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
                Err(Errno::EAGAIN) => return Err(Errno::ETIMEDOUT),
                other => break other?,
            }
        }
        Ok(Self::over(socket.into(), end))
    }

    /// With a socket that is connected and does not block.
    fn over(socket: UnixStream, end: Instant) -> Self {
        Self { socket, end, received: Cell::new(0), packets: RefCell::default() }
    }

    /// Process and user who made the socket listen, SO_PEERCRED.
    pub fn peer(&self) -> Option<(Pid, u32)> {
        let bytes = socket::option_bytes(&self.socket, libc::SO_PEERCRED, 12).ok()?;
        let word = |at: usize| Some(i32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some((Pid(word(0)?), word(4)? as u32))
    }

    /// What is left of the time; an error when nothing is.
    pub fn time_left(&self) -> io::Result<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Stream for Bounded {
    fn poll(&self, mode: PollMode) -> io::Result<()> {
        let mut events = PollFlags::empty();
        events.set(PollFlags::POLLIN, mode.readable());
        events.set(PollFlags::POLLOUT, mode.writable());
        loop {
            // Rounded up, so that the last wait is not a busy one.
            let wait = self.time_left()?.as_millis() + 1;
            let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.socket.as_fd(), events)], wait) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    // Descriptors that a server sends are closed by read(2).
    fn read(&self, buffer: &mut [u8], _descriptors: &mut Vec<RawFdContainer>) -> io::Result<usize> {
        let length = again(|| (&self.socket).read(buffer))?;
        self.received.set(self.received.get().saturating_add(length));
        if self.received.get() > MOST {
            return Err(too_much());
        }
        self.packets.borrow_mut().check(&buffer[..length])?;
        Ok(length)
    }

    fn write(&self, buffer: &[u8], _descriptors: &mut Vec<RawFdContainer>) -> io::Result<usize> {
        again(|| Ok(send(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_NOSIGNAL)?))
    }
}

fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn too_much() -> Error {
    Error::new(ErrorKind::InvalidData, "it sends more than any display server would")
}

/// Where one packet ends and the next begins in what a server sends: x11rb makes room for as much as a packet says that
/// it is long, which may be 16 GiB.
#[derive(Debug, Default)]
struct Packets {
    /// The first packet, the answer to our greeting, has been seen; it has a head of another form.
    greeted: bool,
    /// The first 8 bytes of a packet, as far as they have come.
    head: Vec<u8>,
    /// How many bytes of the packet are still to come behind its head.
    rest: u64,
}

impl Packets {
    fn check(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some((first, others)) = bytes.split_first() {
            if self.rest > 0 {
                let skipped = self.rest.min(bytes.len() as u64);
                self.rest -= skipped;
                bytes = &bytes[skipped as usize..];
                continue;
            }
            self.head.push(*first);
            bytes = others;
            if let [kind, _, _, _, a, b, c, d] = self.head[..] {
                let more = |words: u64| 4 * words;
                self.rest = match kind {
                    _ if !self.greeted => more(u16::from_ne_bytes([c, d]).into()),
                    // Replies and generic events; all others have 32 bytes.
                    1 | 35 | 163 => 24 + more(u32::from_ne_bytes([a, b, c, d]).into()),
                    _ => 24,
                };
                self.greeted = true;
                self.head.clear();
                if self.rest > LARGEST_PACKET {
                    return Err(too_much());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use x11rb::protocol::xproto::{ConnectionExt, Screen, Setup};
    use x11rb::rust_connection::RustConnection;
    use x11rb::x11_utils::Serialize;

    use super::*;

    fn packet(kind: u8, words: u32) -> Vec<u8> {
        let mut bytes = vec![0; 32];
        bytes[0] = kind;
        bytes[4..8].copy_from_slice(&words.to_ne_bytes());
        bytes.resize(if kind == 1 { 32 + 4 * words as usize } else { 32 }, 0xff);
        bytes
    }

    fn conversation(last: Vec<u8>) -> Vec<u8> {
        let greeting = [&[1, 0, 11, 0, 0, 0][..], &2_u16.to_ne_bytes(), &[0xff; 8]].concat();
        [greeting, packet(1, 0), packet(2, u32::MAX), packet(1, 5), packet(0, u32::MAX), last].concat()
    }

    #[test]
    fn packets_are_told_apart_however_they_come() {
        for piece in 1..50 {
            let mut packets = Packets::default();
            let right = conversation(packet(1, 1000));
            assert!(right.chunks(piece).all(|bytes| packets.check(bytes).is_ok()));
            assert_eq!((packets.rest, packets.head.len()), (0, 0));
            let mut packets = Packets::default();
            let mut huge = packet(1, 0);
            huge[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
            assert!(!conversation(huge).chunks(piece).all(|bytes| packets.check(bytes).is_ok()));
        }
    }

    /// What becomes of a question to a server that lets us in and then sends this.
    fn told(answer: &[u8]) -> Result<String, Box<dyn std::error::Error>> {
        let setup = Setup {
            status: 1,
            protocol_major_version: 11,
            resource_id_mask: 0x1f_ffff,
            maximum_request_length: u16::MAX,
            roots: vec![Screen::default()],
            ..Setup::default()
        };
        let mut greeting = setup.serialize();
        let words = (greeting.len() / 4 - 2) as u16;
        greeting[6..8].copy_from_slice(&words.to_ne_bytes());
        let (own, mut server) = UnixStream::pair()?;
        own.set_nonblocking(true)?;
        server.write_all(&greeting)?;
        server.write_all(answer)?;
        let stream = Bounded::over(own, Instant::now() + Duration::from_millis(200));
        let connection = RustConnection::connect_to_stream_with_auth_info(stream, 0, Vec::new(), Vec::new())?;
        Ok(match connection.intern_atom(true, b"x")?.reply() {
            Ok(reply) => format!("atom {}", reply.atom),
            Err(error) => error.to_string(),
        })
    }

    #[test]
    fn a_server_is_heard_until_it_says_too_much_or_nothing() -> Result<(), Box<dyn std::error::Error>> {
        let mut reply = packet(1, 0);
        (reply[2], reply[8]) = (1, 42);
        assert_eq!(told(&reply)?, "atom 42");
        // Made room for, this packet would take 16 GiB.
        reply[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(told(&reply)?, "it sends more than any display server would");
        assert_eq!(told(&[])?, "timed out");
        Ok(())
    }
}
