//! POSIX message queues, mq_overview(7).

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::clone::CloneArguments;
use super::{Answer, Errno, checked};

/// What a queue is made with, `struct mq_attr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// How many messages fit into it.
    pub most: i64,
    /// How long a message may be, bytes.
    pub longest: i64,
    /// How many messages wait.
    pub waiting: i64,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its priority.
    pub priority: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Opens the queue of this name, which has no slash before it.
pub fn open(name: &CStr, flags: i32) -> Answer<OwnedFd> {
    // SAFETY: the name ends with a zero, and without O_CREAT the call reads nothing else.
    let made = unsafe { libc::syscall(libc::SYS_mq_open, name.as_ptr(), flags | libc::O_CLOEXEC, 0, 0) };
    // SAFETY: the kernel has just made this descriptor for us.
    checked(made).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Makes a queue that nobody has a right to, open for reading and writing. EEXIST: there is one of this name.
pub fn make(name: &CStr, attributes: Attributes) -> Answer<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let wanted = [0, attributes.most, attributes.longest, 0, 0, 0, 0, 0];
    // SAFETY: the name ends with a zero, and the structure of eight words lives through the call.
    let made = unsafe { libc::syscall(libc::SYS_mq_open, name.as_ptr(), flags, 0, wanted.as_ptr()) };
    // SAFETY: the kernel has just made this descriptor for us.
    checked(made).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Removes the name of a queue.
pub fn unlink(name: &CStr) -> Answer<()> {
    // SAFETY: the name ends with a zero.
    checked(unsafe { libc::syscall(libc::SYS_mq_unlink, name.as_ptr()) }).map(drop)
}

/// What a queue was made with, and how much waits in it.
pub fn attributes(queue: &impl AsFd) -> Answer<Attributes> {
    let mut found = [0_i64; 8];
    let none = std::ptr::null::<i64>();
    // SAFETY: the kernel writes one structure of eight words, which we hold.
    let answer = unsafe { libc::syscall(libc::SYS_mq_getsetattr, queue.as_fd().as_raw_fd(), none, found.as_mut_ptr()) };
    checked(answer)?;
    Ok(Attributes { most: found[1], longest: found[2], waiting: found[3] })
}

/// Sends a message; EAGAIN: there is no room.
pub fn send(queue: &impl AsFd, message: &Message) -> Answer<()> {
    let (bytes, now) = (&message.bytes, [0_i64; 2]);
    let fd = queue.as_fd().as_raw_fd();
    // SAFETY: the kernel reads the bytes and a time that has passed, both of which live through the call.
    let sent = unsafe {
        libc::syscall(libc::SYS_mq_timedsend, fd, bytes.as_ptr(), bytes.len(), message.priority, now.as_ptr())
    };
    checked(sent).map(drop)
}

/// The most that is looked at, bytes.
const MOST: usize = 1 << 30;

/// What waits in a queue, the next one to be received first. There is no way to look: all is taken out and put back at once, by a
/// process of its own that goes on should the engine be killed meanwhile. `queue` is open for both, and does not wait.
pub fn look(queue: &impl AsFd) -> Answer<Vec<Message>> {
    const HEAD: usize = 16;
    let Attributes { longest, waiting, .. } = attributes(queue)?;
    let (longest, waiting) = (longest as usize, waiting as usize);
    if waiting == 0 {
        return Ok(Vec::new());
    }
    // A message more than there is room for would be lost: whoever sends meanwhile waits behind.
    let length = waiting.checked_mul(longest + HEAD).filter(|length| *length <= MOST).ok_or(Errno::E2BIG)?;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address the kernel chooses overlaps nothing of ours.
    let room = unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if room == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    let arguments = CloneArguments::default();
    // SAFETY: without CLONE_VM the child has its own copy of our memory but for the room, which is shared; the arguments live
    // across the call.
    let made = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) };
    if made == 0 {
        take_and_give_back(queue.as_fd().as_raw_fd(), room as usize, (waiting, longest));
    }
    let ended = checked(made).and_then(|child| wait_for(child as i32));
    // SAFETY: the room is as long as that, and the child, which alone wrote there, has ended.
    let bytes = unsafe { std::slice::from_raw_parts(room.cast::<u8>(), length) }.to_vec();
    // SAFETY: the range is the mapping made above, which nothing else knows of any more.
    unsafe { libc::munmap(room, length) };
    ended?;
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let messages = bytes.chunks_exact(longest + HEAD).map(|slot| {
        let (head, bytes) = slot.split_at(HEAD);
        let (length, priority) = (word(&head[..8]), word(&head[8..]) as u32);
        // The length is written one higher: none was taken where it is 0.
        let bytes = length.checked_sub(1).and_then(|length| bytes.get(..length as usize));
        bytes.map(|bytes| Message { priority, bytes: bytes.to_vec() })
    });
    Ok(messages.map_while(|message| message).collect())
}

fn wait_for(child: i32) -> Answer<()> {
    let mut status = 0;
    // SAFETY: waitpid writes one int, which we hold.
    while unsafe { libc::waitpid(child, &raw mut status, libc::__WALL) } == -1 {
        if Errno::last() != Errno::EINTR {
            return Err(Errno::last());
        }
    }
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { libc::EIO };
    if code == 0 { Ok(()) } else { Err(Errno::from_raw(code)) }
}

/// What the child does. It is a copy of the engine, but of all its code it runs only these few system calls.
fn take_and_give_back(queue: i32, room: usize, (waiting, longest): (usize, usize)) -> ! {
    const HEAD: usize = 16;
    let (all, now) = (u64::MAX, [0_i64; 2]);
    let slot = |nth: usize| (room + nth * (longest + HEAD)) as *mut u64;
    let mut failed = 0;
    // SAFETY: the raw calls take integers, times and masks that live through them, and bytes of the room, which has a slot for
    // each message: two words and as many bytes as the longest has.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, std::ptr::null_mut::<u64>(), 8);
        let mut taken = 0;
        while taken < waiting {
            let at = slot(taken);
            let mut priority = 0_u32;
            let bytes = at.add(2);
            let length =
                libc::syscall(libc::SYS_mq_timedreceive, queue, bytes, longest, &raw mut priority, now.as_ptr());
            if length < 0 {
                break;
            }
            at.write_unaligned(length as u64 + 1);
            at.add(1).write_unaligned(priority.into());
            taken += 1;
        }
        for nth in 0..taken {
            let at = slot(nth);
            let (length, priority) = (at.read_unaligned() - 1, at.add(1).read_unaligned());
            let sent = libc::syscall(libc::SYS_mq_timedsend, queue, at.add(2), length, priority, now.as_ptr());
            if sent < 0 {
                failed = *libc::__errno_location();
            }
        }
        loop {
            libc::syscall(libc::SYS_exit_group, failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_leaves_everything_where_it_was() -> Result<(), Errno> {
        let name =
            std::ffi::CString::new(format!("dormouse-test-{}", std::process::id())).map_err(|_| Errno::EINVAL)?;
        let queue = make(&name, Attributes { most: 5, longest: 33, waiting: 0 })?;
        unlink(&name)?;
        let message = |priority, bytes: &[u8]| Message { priority, bytes: bytes.to_vec() };
        let sent = [message(1, b"last"), message(7, b"first"), message(7, b""), message(1, &[5; 33])];
        sent.iter().try_for_each(|message| send(&queue, message))?;
        let expected = [1, 2, 0, 3].map(|place: usize| sent[place].clone());
        assert_eq!((look(&queue)?, look(&queue)?), (expected.to_vec(), expected.to_vec()));
        assert_eq!(attributes(&queue)?, Attributes { most: 5, longest: 33, waiting: 4 });
        Ok(())
    }
}
