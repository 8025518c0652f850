//! What the kernel itself takes to tell of every descriptor of everybody: a loop of bare system calls that keeps nothing. No
//! survey that reads /proc/PID/fd is faster.

use std::ffi::CStr;

/// Room for many names at once.
const ROOM: usize = 64 * 1024;
/// `d_reclen` and `d_name` of `struct linux_dirent64`, getdents(2).
const LENGTH: usize = 16;
const NAME: usize = 19;

/// Finds every descriptor and reads its link, readlink(2); `modes`: asks for the link's mode too, lstat(2), which alone says
/// whether it is open for reading or writing. Answers how many there are.
pub fn look(modes: bool) -> usize {
    let mut count = 0;
    let mut link = [0_u8; 4096];
    let processes = open(libc::AT_FDCWD, c"/proc");
    each(processes, |pid| {
        let mut path = [0_u8; 32];
        let name = pid.to_bytes();
        path[..name.len()].copy_from_slice(name);
        path[name.len()..name.len() + 3].copy_from_slice(b"/fd");
        let Ok(path) = CStr::from_bytes_until_nul(&path) else { return };
        let descriptors = open(processes, path);
        each(descriptors, |descriptor| {
            // SAFETY: the name ends with a zero, and the kernel writes no more than the array holds.
            unsafe { libc::readlinkat(descriptors, descriptor.as_ptr(), link.as_mut_ptr().cast(), link.len()) };
            if modes {
                // SAFETY: all zeros is a value of this structure of numbers.
                let mut stat: libc::stat = unsafe { std::mem::zeroed() };
                // SAFETY: the name ends with a zero, and the kernel writes one structure, which we hold.
                unsafe { libc::fstatat(descriptors, descriptor.as_ptr(), &raw mut stat, libc::AT_SYMLINK_NOFOLLOW) };
            }
            count += 1;
        });
        close(descriptors);
    });
    close(processes);
    count
}

fn open(folder: i32, path: &CStr) -> i32 {
    // SAFETY: the path ends with a zero.
    unsafe { libc::openat(folder, path.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC) }
}

fn close(folder: i32) {
    // SAFETY: it is ours, or -1 where the process is gone; it is used no more.
    unsafe { libc::close(folder) };
}

/// All names in a folder that are numbers.
fn each(folder: i32, mut with: impl FnMut(&CStr)) {
    let mut room = vec![0_u8; ROOM];
    loop {
        // SAFETY: the kernel writes no more than the room holds.
        let length = unsafe { libc::syscall(libc::SYS_getdents64, folder, room.as_mut_ptr(), room.len()) };
        let Some(mut rest) = usize::try_from(length).ok().and_then(|length| room.get(..length)) else { return };
        if rest.is_empty() {
            return;
        }
        while rest.len() > NAME {
            let length = usize::from(u16::from_ne_bytes([rest[LENGTH], rest[LENGTH + 1]]));
            if let Ok(name) = CStr::from_bytes_until_nul(&rest[NAME..])
                && name.to_bytes().first().is_some_and(u8::is_ascii_digit)
            {
                with(name);
            }
            rest = &rest[length..];
        }
    }
}
