//! Watches over files, inotify(7), and files by handle, open_by_handle_at(2).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Answer, Errno, checked};

fn owned(result: libc::c_long) -> Answer<OwnedFd> {
    let number = checked(result)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has its number.
    Ok(unsafe { OwnedFd::from_raw_fd(number as i32) })
}

/// A descriptor that watches nothing and does not block, inotify_init1(2).
pub fn make() -> Answer<OwnedFd> {
    // SAFETY: inotify_init1 takes one integer.
    owned(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) }.into())
}

/// Watches a path; answers the number of the watch, inotify_add_watch(2).
pub fn add(watcher: &impl AsFd, path: &Path, mask: u32) -> Answer<i32> {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the path ends with a zero and lives through the call.
    let number = unsafe { libc::inotify_add_watch(watcher.as_fd().as_raw_fd(), path.as_ptr(), mask) };
    checked(number.into()).map(|number| number as i32)
}

/// Ends a watch, inotify_rm_watch(2).
pub fn remove(watcher: &impl AsFd, number: i32) -> Answer<()> {
    // SAFETY: inotify_rm_watch takes two integers.
    checked(unsafe { libc::inotify_rm_watch(watcher.as_fd().as_raw_fd(), number) }.into()).map(drop)
}

/// `struct file_handle` with room for the longest one, MAX_HANDLE_SZ.
#[repr(C)]
struct Handle {
    length: u32,
    kind: i32,
    bytes: [u8; 128],
}

/// Opens the place that a handle stands for (O_PATH), on the filesystem that `mount` lies on. CAP_DAC_READ_SEARCH.
pub fn open_handle(mount: &impl AsFd, kind: i32, bytes: &[u8]) -> Answer<OwnedFd> {
    let mut handle = Handle { length: bytes.len() as u32, kind, bytes: [0; 128] };
    handle.bytes.get_mut(..bytes.len()).ok_or(Errno::EINVAL)?.copy_from_slice(bytes);
    let flags = libc::O_PATH | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    // SAFETY: the kernel reads as many bytes of the handle as it says it has, and it has room for 128.
    owned(unsafe { libc::syscall(libc::SYS_open_by_handle_at, mount.as_fd().as_raw_fd(), &raw const handle, flags) })
}
