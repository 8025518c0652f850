//! TCP_REPAIR, linux/tcp.h: a connection is looked at, or made, without a packet. It takes CAP_NET_ADMIN.
//!
//! A socket in this mode keeps still: what its program sends then fails. A connection that lives is therefore looked at by
//! a child of the engine, which ends the mode whatever becomes of the engine.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::clone::CloneArguments;
use super::inet::{option, option_bytes, send, set_option, set_option_bytes};
use super::{Answer, Errno, checked};

pub(super) const TCP_REPAIR: i32 = 19;
pub(super) const TCP_REPAIR_QUEUE: i32 = 20;
pub(super) const TCP_QUEUE_SEQ: i32 = 21;
const TCP_REPAIR_OPTIONS: i32 = 22;
pub(super) const TCP_TIMESTAMP: i32 = 24;
pub(super) const TCP_REPAIR_WINDOW: i32 = 29;
/// Ends the mode without a probe of the other end's window, Linux 4.19.
const OFF_NO_WP: i32 = -1;

/// The two queues, `TCP_RECV_QUEUE` and `TCP_SEND_QUEUE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// None.
    None = 0,
    /// What was received.
    Received = 1,
    /// What was sent, or is to be.
    Sent = 2,
}

/// What both ends of a connection have agreed upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The largest segment that the other end takes, bytes.
    pub segment: u32,
    /// By how many bits windows are shifted: the other end's, and its own.
    pub scale: Option<(u8, u8)>,
    /// Selective acknowledgement.
    pub selective: bool,
    /// Time stamps.
    pub stamps: bool,
}

/// Begins the mode. The socket may be bound then to an address that another one has, too.
pub fn begin(socket: &impl AsFd) -> Answer<()> {
    set_option(socket, libc::IPPROTO_TCP, TCP_REPAIR, 1)
}

/// Ends the mode. SO_REUSEADDR is off then.
pub fn end(socket: &impl AsFd) -> Answer<()> {
    set_option(socket, libc::IPPROTO_TCP, TCP_REPAIR, OFF_NO_WP)
}

/// Where the bytes of a queue end, for a socket that is not connected yet.
pub fn set_sequence(socket: &impl AsFd, queue: Queue, sequence: u32) -> Answer<()> {
    set_option(socket, libc::IPPROTO_TCP, TCP_REPAIR_QUEUE, queue as i32)?;
    set_option(socket, libc::IPPROTO_TCP, TCP_QUEUE_SEQ, sequence as i32)?;
    set_option(socket, libc::IPPROTO_TCP, TCP_REPAIR_QUEUE, Queue::None as i32)
}

/// What was agreed upon, for one that has just been connected.
pub fn agree(socket: &impl AsFd, agreed: Agreed) -> Answer<()> {
    // `struct tcp_repair_opt`: a code of the options of a segment, and its value.
    // Without a word about windows the socket would shift its own.
    let (theirs, own) = agreed.scale.unwrap_or_default();
    let mut words = vec![2, agreed.segment, 3, u32::from(theirs) | u32::from(own) << 16];
    if agreed.selective {
        words.extend([4, 0]);
    }
    if agreed.stamps {
        words.extend([8, 0]);
    }
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    set_option_bytes(socket, libc::IPPROTO_TCP, TCP_REPAIR_OPTIONS, &bytes)
}

/// Puts bytes into what was received, or what was sent and has not been answered.
pub fn fill(socket: &impl AsFd, queue: Queue, bytes: &[u8]) -> Answer<()> {
    const PIECE: usize = 16 * 1024;
    set_option(socket, libc::IPPROTO_TCP, TCP_REPAIR_QUEUE, queue as i32)?;
    for piece in bytes.chunks(PIECE) {
        let mut at = 0;
        while at < piece.len() {
            match send(socket, &piece[at..], &[])? {
                0 => return Err(Errno::ENOBUFS),
                taken => at += taken,
            }
        }
    }
    set_option(socket, libc::IPPROTO_TCP, TCP_REPAIR_QUEUE, Queue::None as i32)
}

/// How many bytes it offers to take, its window.
pub fn window(socket: &impl AsFd) -> Answer<u32> {
    let bytes = option_bytes(socket, libc::IPPROTO_TCP, TCP_REPAIR_WINDOW, &[], 20)?;
    bytes.get(12..16).and_then(|word| word.try_into().ok()).map(u32::from_ne_bytes).ok_or(Errno::EINVAL)
}

/// Both windows, bytes: its own, and the other end's; `received`: where the bytes that it has received end.
pub fn set_windows(socket: &impl AsFd, own: u32, theirs: u32, received: u32) -> Answer<()> {
    set_windows_as(socket, [received, theirs, theirs.max(65_535), own, received])
}

/// The same as `struct tcp_repair_window` has it: snd_wl1, snd_wnd, max_window, rcv_wnd, rcv_wup.
pub fn set_windows_as(socket: &impl AsFd, words: [u32; 5]) -> Answer<()> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    set_option_bytes(socket, libc::IPPROTO_TCP, TCP_REPAIR_WINDOW, &bytes)
}

/// Where its clock is that its time stamps are taken from.
pub fn set_stamp(socket: &impl AsFd, stamp: u32) -> Answer<()> {
    set_option(socket, libc::IPPROTO_TCP, TCP_TIMESTAMP, stamp as i32)
}

/// What a sender has sent, or is to send, and the receiver does not have yet; at most `most` bytes are on that side. Both
/// stand still but for the kernel, and go on as they were.
pub fn on_its_way(sender: &impl AsFd, receiver: &impl AsFd, most: usize) -> Answer<Vec<u8>> {
    let mut answer = File::from(memfd_create("answer", MFdFlags::MFD_CLOEXEC)?);
    let mut room = vec![0_u8; most];
    let ends = [sender.as_fd(), receiver.as_fd()];
    let reuse = [reuses(ends[0])?, reuses(ends[1])?];
    in_child(|| {
        let seen = look(ends, reuse, &mut room);
        let words = [seen.failed as u32, seen.end, seen.unanswered, seen.received];
        let told = words.iter().try_for_each(|word| answer.write_all(&word.to_ne_bytes()));
        let _ = told.and_then(|()| answer.write_all(room.get(..seen.length).unwrap_or_default()));
    })?;
    let mut bytes = Vec::new();
    answer.rewind().and_then(|()| answer.read_to_end(&mut bytes)).map_err(|_| Errno::EIO)?;
    let word = |at: usize| bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_ne_bytes);
    let (Some(failed), Some(end), Some(unanswered), Some(received)) = (word(0), word(4), word(8), word(12)) else {
        return Err(Errno::ECHILD);
    };
    if failed != 0 {
        return Err(Errno::from_raw(failed as i32));
    }
    let there = received.wrapping_sub(end.wrapping_sub(unanswered)) as usize;
    Ok(bytes.get(16 + there..).unwrap_or_default().to_vec())
}

/// Does something in a child, which neither allocates nor takes a lock, and waits for it.
pub(super) fn in_child(work: impl FnOnce()) -> Answer<()> {
    let arguments = CloneArguments { exit_signal: libc::SIGCHLD as u64, ..CloneArguments::default() };
    // SAFETY: without CLONE_VM the child has its own copy of our memory; the arguments live across the call.
    let made = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) };
    if made == 0 {
        let (all, none) = (u64::MAX, std::ptr::null_mut::<u64>());
        // SAFETY: reads one mask, which lives through the call.
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, none, size_of::<u64>()) };
        work();
        leave();
    }
    let child = checked(made)? as i32;
    // SAFETY: a null status is allowed.
    while unsafe { libc::waitpid(child, std::ptr::null_mut(), libc::__WALL) } == -1 && Errno::last() == Errno::EINTR {}
    Ok(())
}

pub(super) fn reuses(socket: BorrowedFd<'_>) -> Answer<i32> {
    option(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR)
}

/// What the child has seen.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// Why it failed; 0: it did not.
    failed: i32,
    /// How many bytes the sender still has.
    length: usize,
    /// Where they end, with an end of the stream that is among them.
    end: u32,
    /// How much of that was not answered yet.
    unanswered: u32,
    /// Where the bytes end that the receiver has.
    received: u32,
}

/// What the child does: it is a copy of the engine, and neither allocates nor takes a lock.
fn look(ends: [BorrowedFd<'_>; 2], reuse: [i32; 2], room: &mut [u8]) -> Seen {
    let mut seen = Seen::default();
    let [sender, receiver] = ends.map(|end| end.as_raw_fd());
    seen.failed = look_now(sender, receiver, &mut seen, room).err().unwrap_or(0);
    for (end, reuse) in [(sender, reuse[0]), (receiver, reuse[1])] {
        let _ = end_number(end, reuse);
    }
    seen
}

/// Ends the mode, with SO_REUSEADDR as it was.
pub(super) fn end_number(socket: i32, reuse: i32) -> Result<(), i32> {
    let ended = set_word(socket, libc::IPPROTO_TCP, TCP_REPAIR, OFF_NO_WP);
    ended.and(set_word(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, reuse))
}

fn look_now(sender: i32, receiver: i32, seen: &mut Seen, room: &mut [u8]) -> Result<(), i32> {
    set_word(sender, libc::IPPROTO_TCP, TCP_REPAIR, 1)?;
    set_word(receiver, libc::IPPROTO_TCP, TCP_REPAIR, 1)?;
    set_word(receiver, libc::IPPROTO_TCP, TCP_REPAIR_QUEUE, Queue::Received as i32)?;
    seen.received = word(receiver, TCP_QUEUE_SEQ)?;
    set_word(sender, libc::IPPROTO_TCP, TCP_REPAIR_QUEUE, Queue::Sent as i32)?;
    seen.end = word(sender, TCP_QUEUE_SEQ)?;
    seen.unanswered = ask_number(sender, libc::TIOCOUTQ)?;
    seen.length = peek_number(sender, room)?;
    set_word(sender, libc::IPPROTO_TCP, TCP_REPAIR_QUEUE, Queue::None as i32)
}

/// How many bytes there are of a kind, tcp(7): SIOCOUTQ and its like.
pub(super) fn ask_number(socket: i32, what: libc::c_ulong) -> Result<u32, i32> {
    let mut found = 0_u32;
    // SAFETY: these requests write one int, which we hold.
    let asked = unsafe { libc::ioctl(socket, what, &raw mut found) };
    if asked == -1 { Err(errno()) } else { Ok(found) }
}

/// Looks at the bytes of the chosen queue.
pub(super) fn peek_number(socket: i32, room: &mut [u8]) -> Result<usize, i32> {
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the kernel writes at most as many bytes as the slice holds.
    match unsafe { libc::recv(socket, room.as_mut_ptr().cast(), room.len(), flags) } {
        -1 if errno() == libc::EAGAIN => Ok(0),
        -1 => Err(errno()),
        length => Ok(length as usize),
    }
}

fn errno() -> i32 {
    Errno::last_raw()
}

pub(super) fn set_word(socket: i32, level: i32, option: i32, value: i32) -> Result<(), i32> {
    // SAFETY: the kernel reads four bytes, which live through the call.
    let done = unsafe { libc::setsockopt(socket, level, option, (&raw const value).cast(), 4) };
    if done == -1 { Err(errno()) } else { Ok(()) }
}

pub(super) fn word(socket: i32, option: i32) -> Result<u32, i32> {
    let mut value = [0; 4];
    read_option(socket, option, &mut value).map(|()| u32::from_ne_bytes(value))
}

/// The first bytes of an option of TCP.
pub(super) fn read_option(socket: i32, option: i32, value: &mut [u8]) -> Result<(), i32> {
    let mut length = value.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most as many bytes as the slice holds.
    let done =
        unsafe { libc::getsockopt(socket, libc::IPPROTO_TCP, option, value.as_mut_ptr().cast(), &raw mut length) };
    if done == -1 { Err(errno()) } else { Ok(()) }
}

fn leave() -> ! {
    loop {
        // SAFETY: takes a number, and does not return.
        unsafe { libc::syscall(libc::SYS_exit_group, 0) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_is_on_its_way_is_seen_and_stays_there() -> Result<(), Box<dyn std::error::Error>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut one = TcpStream::connect(listener.local_addr()?)?;
        let (mut other, _) = listener.accept()?;
        one.set_nonblocking(true)?;
        let (mut sent, piece) = (Vec::new(), (0..=255).cycle().take(65_521).collect::<Vec<u8>>());
        while let Ok(taken) = one.write(&piece) {
            sent.extend_from_slice(&piece[..taken]);
        }
        let there = super::super::files::bytes_waiting(&other)?;
        let unanswered = super::super::socket::unreceived(&one)? as usize;
        let found = match on_its_way(&one, &other, unanswered) {
            Err(Errno::EPERM) => return Ok(()),
            found => found?,
        };
        assert!(there < sent.len() && !found.is_empty());
        assert!(found == sent[there..], "{} bytes were seen, {} expected", found.len(), sent.len() - there);
        let mut read = vec![0; sent.len()];
        other.read_exact(&mut read)?;
        assert!(read == sent, "what was looked at has changed");
        one.write_all(b"more")?;
        other.read_exact(&mut read[..4])?;
        assert_eq!(&read[..4], b"more");
        Ok(())
    }
}
