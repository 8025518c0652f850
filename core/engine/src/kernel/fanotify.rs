//! Watches over files, mounts and filesystems, fanotify(7).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Answer, Errno, checked};

/// A descriptor that watches nothing yet, fanotify_init(2), and that no program inherits; `event_flags`: how the
/// files are opened that it tells of.
pub fn make(flags: u32, event_flags: u32) -> Answer<OwnedFd> {
    // SAFETY: fanotify_init takes two integers.
    let number = checked(unsafe { libc::fanotify_init(flags, event_flags) }.into())?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has its number.
    let made = unsafe { OwnedFd::from_raw_fd(number as i32) };
    nix::fcntl::fcntl(&made, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(made)
}

/// Adds, changes or removes a mark, fanotify_mark(2).
pub fn mark(watcher: &impl AsFd, flags: u32, mask: u64, path: &Path) -> Answer<()> {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the path ends with a zero and lives through the call.
    let done = unsafe { libc::fanotify_mark(watcher.as_fd().as_raw_fd(), flags, mask, libc::AT_FDCWD, path.as_ptr()) };
    checked(done.into()).map(drop)
}

/// Takes events off the queue, as many as there is room for in so many bytes, and closes what comes with them; answers the length of the
/// first one, bytes, and how many there were.
pub fn take(watcher: &impl AsFd, room: usize) -> Answer<(usize, usize)> {
    let mut buffer = vec![0; room];
    let read = nix::unistd::read(watcher.as_fd(), &mut buffer)?;
    let mut rest = buffer.get(..read).unwrap_or_default();
    let (mut first, mut count) = (0, 0);
    while let Some(event) = next(&mut rest) {
        close(event);
        first = if count == 0 { event.len() } else { first };
        count += 1;
    }
    Ok((first, count))
}

/// `struct fanotify_event_metadata`.
const METADATA: usize = 24;
/// FAN_EVENT_INFO_TYPE_PIDFD, the type of a `struct fanotify_event_info_pidfd`.
const PIDFD: u8 = 4;

/// An event with what belongs to it, off the front.
fn next<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = word(rest, 0)? as usize;
    let event = rest.get(..length).filter(|event| event.len() >= METADATA)?;
    *rest = &rest[length..];
    Some(event)
}

/// The descriptors that the kernel has opened for an event: of the file, and of the process.
fn close(event: &[u8]) {
    let mut given = vec![word(event, 16)];
    let mut informed = event.get(METADATA..).unwrap_or_default();
    // `struct fanotify_event_info_header`: the type, a byte between, and the length with it.
    while let [kind, _, low, high, ..] = informed {
        let length = usize::from(u16::from_ne_bytes([*low, *high])).max(4);
        if *kind == PIDFD {
            given.push(word(informed, 4));
        }
        informed = informed.get(length..).unwrap_or_default();
    }
    for number in given.into_iter().flatten().map(|number| number as i32).filter(|number| *number >= 0) {
        // SAFETY: the kernel has just made this descriptor for us, and nobody else has its number.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_ne_bytes)
}
