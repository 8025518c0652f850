//! What this kernel can do: tried, not told from its version.

use super::{Errno, checked};

/// Whether the ids of POSIX timers can be chosen: PR_TIMER_CREATE_RESTORE_IDS, Linux 6.15.
pub fn timer_ids() -> bool {
    const PR_TIMER_CREATE_RESTORE_IDS: i32 = 77;
    const GET: i32 = 2;
    // SAFETY: prctl with integers only; it reads a flag.
    let answer = checked(unsafe { libc::prctl(PR_TIMER_CREATE_RESTORE_IDS, GET, 0, 0, 0) }.into());
    answer != Err(Errno::EINVAL)
}

/// Whether the kernel has Landlock, and it is switched on: landlock(7), Linux 5.13.
pub fn landlock() -> bool {
    const VERSION: u32 = 1;
    // SAFETY: asked for the version it reads nothing.
    checked(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, VERSION) }).is_ok()
}
