//! Scheduling of a thread, seen from outside: sched_getattr(2), sched_getaffinity(2), ioprio_get(2), getpriority(2).

use dormouse_wire::Tid;
use serde::{Deserialize, Serialize};

use super::{Answer, checked};

/// `struct sched_attr` of sched_setattr(2), as of Linux 5.3.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Size of the structure in bytes.
    pub size: u32,
    /// SCHED_OTHER and its like.
    pub policy: u32,
    /// SCHED_FLAG_*.
    pub flags: u64,
    /// Nice value, for SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// Static priority, for SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// SCHED_DEADLINE, nanoseconds.
    pub runtime: u64,
    /// SCHED_DEADLINE, nanoseconds.
    pub deadline: u64,
    /// SCHED_DEADLINE, nanoseconds.
    pub period: u64,
    /// Least utilization hint, 0 to 1024.
    pub util_min: u32,
    /// Most utilization hint, 0 to 1024.
    pub util_max: u32,
}

impl Attributes {
    /// The structure as the kernel reads it.
    pub fn to_bytes(self) -> Vec<u8> {
        const CLAMP_MIN: u64 = 1 << 5;
        const CLAMP_MAX: u64 = 1 << 6;
        // What the kernel tells lacks the flags that say that the hints count; 0 and 1024 are what a thread has without.
        let has_hints = !matches!((self.util_min, self.util_max), (0, 0 | 1024));
        let flags = self.flags | if has_hints { CLAMP_MIN | CLAMP_MAX } else { 0 };
        let mut bytes = Vec::with_capacity(56);
        bytes.extend(56u32.to_ne_bytes());
        bytes.extend(self.policy.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(self.nice.to_ne_bytes());
        bytes.extend(self.priority.to_ne_bytes());
        for number in [self.runtime, self.deadline, self.period] {
            bytes.extend(number.to_ne_bytes());
        }
        bytes.extend(self.util_min.to_ne_bytes());
        bytes.extend(self.util_max.to_ne_bytes());
        bytes
    }
}

/// Policy and parameters.
pub fn attributes(thread: Tid) -> Answer<Attributes> {
    let mut attributes = Attributes::default();
    // SAFETY: the kernel writes at most the size we name, that of the structure we hold.
    checked(unsafe {
        libc::syscall(
            libc::SYS_sched_getattr,
            thread.0,
            &raw mut attributes,
            size_of::<Attributes>() as libc::c_uint,
            0,
        )
    })?;
    Ok(attributes)
}

/// The processors it may run on: a bit mask of as many bytes as the kernel uses.
pub fn affinity(thread: Tid) -> Answer<Vec<u8>> {
    let mut mask = vec![0u64; 1024];
    // SAFETY: the kernel writes at most the size we name, that of the vector we hold.
    let bytes =
        checked(unsafe { libc::syscall(libc::SYS_sched_getaffinity, thread.0, mask.len() * 8, mask.as_mut_ptr()) })?;
    Ok(mask.iter().flat_map(|word| word.to_ne_bytes()).take(bytes as usize).collect())
}

/// I/O class and priority, as ioprio_set(2) takes them.
pub fn io_priority(thread: Tid) -> Answer<u32> {
    const WHO_PROCESS: i32 = 1;
    // SAFETY: ioprio_get takes integers only.
    checked(unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, thread.0) }).map(|value| value as u32)
}

/// The cookie of a thread (0: the calling one), which says beside whom it may run on a core: PR_SCHED_CORE_GET, Linux 5.14.
/// EINVAL, ENODEV: the kernel or the processor has no such thing.
pub fn core_cookie(thread: Tid) -> Answer<u64> {
    const PR_SCHED_CORE: libc::c_int = 62;
    let mut cookie = 0_u64;
    // SAFETY: the kernel writes one number of eight bytes, which we hold.
    checked(unsafe { libc::prctl(PR_SCHED_CORE, 0, thread.0, 0, &raw mut cookie) }.into())?;
    Ok(cookie)
}

/// The calling thread runs on one processor only, until this is dropped.
#[derive(Debug)]
pub struct Pinned(nix::sched::CpuSet);

impl Pinned {
    /// Moves the calling thread.
    pub fn to(processor: usize) -> Answer<Self> {
        let own = nix::unistd::Pid::from_raw(0);
        let before = nix::sched::sched_getaffinity(own)?;
        let mut only = nix::sched::CpuSet::new();
        only.set(processor)?;
        nix::sched::sched_setaffinity(own, &only)?;
        Ok(Self(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It was so before; it can be so again.
        let _ = nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &self.0);
    }
}
