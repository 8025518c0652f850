//! Limits: the engine's own, getrlimit(2), and those of others, prlimit(2).

use dormouse_wire::Pid;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{Answer, checked};

/// Lets the engine open as many files as it may: it holds every file of a group at once.
pub fn raise_open_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Where this fails, a large group meets "too many open files" and says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// So many files the engine may have open at once, as far as it can raise that itself.
pub fn most_open_files() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(_, hard)| hard)
}

/// Sets a limit of another process, soft and hard. Wants CAP_SYS_RESOURCE where that is somebody else's.
pub fn set(pid: Pid, resource: usize, (soft, hard): (u64, u64)) -> Answer<()> {
    let pair = [soft, hard];
    let none: *mut u64 = std::ptr::null_mut();
    // SAFETY: the kernel reads two words, which live through the call, and writes nothing.
    checked(unsafe { libc::syscall(libc::SYS_prlimit64, pid.0, resource, pair.as_ptr(), none) }).map(drop)
}
