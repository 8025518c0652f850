//! What this kernel can do: tried, not told from its version.

use super::{Answer, Errno, checked};

/// Whether the ids of POSIX timers can be chosen: PR_TIMER_CREATE_RESTORE_IDS, Linux 6.15.
pub fn timer_ids() -> bool {
    const PR_TIMER_CREATE_RESTORE_IDS: i32 = 77;
    const GET: i32 = 2;
    // SAFETY: prctl with integers only; it reads a flag.
    let answer = checked(unsafe { libc::prctl(PR_TIMER_CREATE_RESTORE_IDS, GET, 0, 0, 0) }.into());
    answer != Err(Errno::EINVAL)
}

/// Whether processes may have segments of their own, modify_ldt(2): CONFIG_MODIFY_LDT_SYSCALL.
pub fn own_segments() -> bool {
    const READ: i32 = 0;
    // SAFETY: the call is asked for nothing, and writes nothing.
    checked(unsafe { libc::syscall(libc::SYS_modify_ldt, READ, std::ptr::null_mut::<u8>(), 0) }) != Err(Errno::ENOSYS)
}

/// Whether the kernel has Landlock, and it is switched on: landlock(7), Linux 5.13.
pub fn landlock() -> bool {
    const VERSION: u32 = 1;
    // SAFETY: asked for the version it reads nothing.
    checked(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, VERSION) }).is_ok()
}

/// Whether a process may be given its layout again: PR_SET_MM_MAP, which CONFIG_CHECKPOINT_RESTORE brings, prctl(2).
pub fn layouts() -> Answer<()> {
    const PR_SET_MM: i32 = 35;
    const MAP_SIZE: i32 = 15;
    let mut size = 0_u32;
    // SAFETY: asked for the size the call writes one number, which we hold.
    checked(unsafe { libc::prctl(PR_SET_MM, MAP_SIZE, &raw mut size, 0, 0) }.into()).map(drop)
}

/// Whether registrations for memory barriers are told: MEMBARRIER_CMD_GET_REGISTRATIONS, membarrier(2), Linux 6.3.
pub fn barriers() -> Answer<()> {
    const GET_REGISTRATIONS: i32 = 1 << 9;
    // SAFETY: the call takes numbers alone, and answers one.
    checked(unsafe { libc::syscall(libc::SYS_membarrier, GET_REGISTRATIONS, 0, 0) }).map(drop)
}

/// Whether mappings can be sealed again: mseal(2), Linux 6.10.
pub fn seals() -> Answer<()> {
    const MSEAL: i64 = 462;
    // SAFETY: of no memory nothing is sealed.
    checked(unsafe { libc::syscall(MSEAL, 0, 0, 0) }).map(drop)
}
