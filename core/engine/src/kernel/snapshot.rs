//! What only TCP_REPAIR tells of a connection, linux/tcp.h: what was sent and not answered, where the bytes of both directions
//! are numbered, what is offered. It takes CAP_NET_ADMIN.
//!
//! A socket in that mode keeps still, so a child of the engine looks, which ends the mode whatever becomes of the engine: one
//! for all that are to be looked at.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::message::word as number;
use super::repair::{self, Queue, reuses, set_word, word};
use super::{Answer, Errno, socket};

/// One end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// `TCP_*` of include/net/tcp_states.h.
    pub state: u8,
    /// Where the bytes end that it has sent or is to send, with its end.
    pub sent: u32,
    /// How many of them were not answered yet, and how many of these were not sent yet.
    pub unanswered: u32,
    /// See there.
    pub unsent: u32,
    /// Where the bytes end that it has received, with the other end's end.
    pub received: u32,
    /// The largest segment that the other end takes, bytes.
    pub segment: u32,
    /// Its clock, as its time stamps have it.
    pub stamp: u32,
    /// `struct tcp_repair_window`: snd_wl1, snd_wnd, max_window, rcv_wnd, rcv_wup.
    pub windows: [u32; 5],
    /// The last bytes that it has sent or is to send: those that were not answered, and perhaps some before them.
    pub bytes: Vec<u8>,
}

/// How many numbers are told of each before the bytes.
const NUMBERS: usize = 14;
/// What may lie before what was not answered: one segment, as long as one can be.
const BEFORE: usize = 128 * 1024;
const SIOCOUTQNSD: libc::c_ulong = 0x894B;

/// Looks at connections whose programs stand still.
pub fn snapshots(sockets: &[BorrowedFd<'_>]) -> Answer<Vec<Answer<Snapshot>>> {
    let reuse = sockets.iter().map(|socket| reuses(*socket)).collect::<Answer<Vec<_>>>()?;
    let longest = sockets.iter().map(|end| socket::unreceived(end).unwrap_or(0).max(0) as usize).max();
    let mut room = vec![0_u8; longest.unwrap_or(0) + BEFORE];
    let mut answer = File::from(memfd_create("answer", MFdFlags::MFD_CLOEXEC)?);
    repair::in_child(|| {
        for (end, reuse) in sockets.iter().zip(&reuse) {
            let mut numbers = [0; NUMBERS];
            let done = look(end.as_raw_fd(), &mut numbers, &mut room);
            numbers[0] = done.err().unwrap_or(0) as u32;
            let _ = repair::end_number(end.as_raw_fd(), *reuse);
            for number in numbers {
                let _ = answer.write_all(&number.to_ne_bytes());
            }
            let _ = answer.write_all(room.get(..numbers[1] as usize).unwrap_or_default());
        }
    })?;
    let mut bytes = Vec::new();
    answer.rewind().and_then(|()| answer.read_to_end(&mut bytes)).map_err(|_| Errno::EIO)?;
    let mut rest = &bytes[..];
    sockets.iter().map(|_| read(&mut rest).ok_or(Errno::ECHILD)).collect()
}

/// Takes one out of what was told.
fn read(rest: &mut &[u8]) -> Option<Answer<Snapshot>> {
    let at = |place: usize| number(rest, place * 4);
    let (failed, length) = (at(0)?, at(1)? as usize);
    let found = Snapshot {
        state: at(2)? as u8,
        sent: at(3)?,
        unanswered: at(4)?,
        unsent: at(5)?,
        received: at(6)?,
        segment: at(7)?,
        stamp: at(8)?,
        windows: [at(9)?, at(10)?, at(11)?, at(12)?, at(13)?],
        bytes: rest.get(NUMBERS * 4..)?.get(..length)?.to_vec(),
    };
    *rest = rest.get(NUMBERS * 4 + length..)?;
    Some(if failed == 0 { Ok(found) } else { Err(Errno::from_raw(failed as i32)) })
}

/// What the child does: it is a copy of the engine, and neither allocates nor takes a lock.
fn look(end: i32, numbers: &mut [u32; NUMBERS], room: &mut [u8]) -> Result<(), i32> {
    let mut info = [0_u8; 8];
    repair::read_option(end, libc::TCP_INFO, &mut info)?;
    numbers[2] = info[0].into();
    set_word(end, libc::IPPROTO_TCP, repair::TCP_REPAIR, 1)?;
    set_word(end, libc::IPPROTO_TCP, repair::TCP_REPAIR_QUEUE, Queue::Received as i32)?;
    numbers[6] = word(end, repair::TCP_QUEUE_SEQ)?;
    set_word(end, libc::IPPROTO_TCP, repair::TCP_REPAIR_QUEUE, Queue::Sent as i32)?;
    numbers[3] = word(end, repair::TCP_QUEUE_SEQ)?;
    // The bytes first: should some be answered meanwhile, they are fewer than there are.
    numbers[1] = repair::peek_number(end, room)? as u32;
    numbers[4] = repair::ask_number(end, libc::TIOCOUTQ)?;
    numbers[5] = repair::ask_number(end, SIOCOUTQNSD)?;
    set_word(end, libc::IPPROTO_TCP, repair::TCP_REPAIR_QUEUE, Queue::None as i32)?;
    numbers[7] = word(end, libc::TCP_MAXSEG)?;
    numbers[8] = word(end, repair::TCP_TIMESTAMP)?;
    let mut windows = [0_u8; 20];
    repair::read_option(end, repair::TCP_REPAIR_WINDOW, &mut windows)?;
    for (place, value) in numbers[9..].iter_mut().zip(windows.chunks_exact(4)) {
        *place = number(value, 0).unwrap_or(0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_was_sent_and_not_answered_is_seen_and_goes_on() -> Result<(), Box<dyn std::error::Error>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let one = TcpStream::connect(listener.local_addr()?)?;
        let (other, _) = listener.accept()?;
        one.set_nonblocking(true)?;
        let (mut sent, piece) = (Vec::new(), (0..=255).cycle().take(65_521).collect::<Vec<u8>>());
        while let Ok(taken) = (&one).write(&piece) {
            sent.extend_from_slice(&piece[..taken]);
        }
        let found = match snapshots(&[one.as_fd(), other.as_fd()])?.into_iter().collect::<Answer<Vec<_>>>() {
            Err(Errno::EPERM) => return Ok(()),
            found => found?,
        };
        let [one_seen, other_seen] = &found[..] else { return Err("two were looked at".into()) };
        let queued = one_seen.unanswered as usize;
        assert!(
            queued > 0
                && one_seen.unsent <= one_seen.unanswered
                && one_seen.bytes.ends_with(&sent[sent.len() - queued..])
        );
        // What has come may not have been answered yet, and nothing has come that was not sent.
        let first = one_seen.sent.wrapping_sub(one_seen.unanswered);
        let come = other_seen.received.wrapping_sub(first);
        assert!(come <= one_seen.unanswered - one_seen.unsent, "{come} bytes have come");
        assert_eq!((other_seen.unanswered, other_seen.bytes.len(), other_seen.state), (0, 0, 1));
        let mut read = vec![0; sent.len()];
        (&other).read_exact(&mut read)?;
        assert!(read == sent, "what was looked at has changed");
        Ok(())
    }
}
