//! What each thread has of its own.

use std::fs;
use std::io;

use super::{Collector, processes};
use crate::process::{Stat, status};

/// Lines of a thread's `status` that it does not share with its process.
const OWN: [&str; 20] = [
    "Name",
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "SigPnd",
    "SigBlk",
    "Cpus_allowed_list",
    "Mems_allowed_list",
    "Speculation_Store_Bypass",
    "TracerPid",
    "x86_Thread_features",
    "x86_Thread_features_locked",
];

/// Surveys one thread of the collector's process.
pub(super) fn collect(collector: &mut Collector, tid: i32) {
    let folder = format!("/proc/{}/task/{tid}", collector.pid);
    let fact = |name: &str| format!("thread/{tid}/{name}");
    if let Some(stat) = Stat::read(&format!("{folder}/stat")) {
        collector.add(fact("state"), processes::state(stat.state()));
        for (field, name) in [(18, "priority"), (19, "nice"), (40, "rt_priority"), (41, "policy")] {
            collector.add(fact(name), stat.field(field));
        }
    }
    for (name, value) in status(&format!("{folder}/status")).unwrap_or_default() {
        if OWN.contains(&name.as_str()) {
            collector.add(fact(&name), value);
        }
    }
    collector.add(fact("affinity"), affinity(tid));
    collector.add(fact("scheduler"), scheduler(tid));
    collector.add(fact("ioprio"), io_priority(tid));
    let slack = fs::read_to_string(format!("/proc/{tid}/timerslack_ns")).unwrap_or_else(|error| error.to_string());
    collector.add(fact("timerslack"), slack.trim());
    collector.add(fact("cgroup"), fs::read_to_string(format!("{folder}/cgroup")).unwrap_or_default().trim());
}

/// The mask of sched_getaffinity(2).
fn affinity(tid: i32) -> String {
    let mut mask = [0_u64; 16];
    // SAFETY: `mask` is as large as is said, and lives through the call.
    let size = unsafe { libc::syscall(libc::SYS_sched_getaffinity, tid, size_of_val(&mask), mask.as_mut_ptr()) };
    if size < 0 {
        return io::Error::last_os_error().to_string();
    }
    let words: Vec<u64> = mask.iter().rev().copied().skip_while(|word| *word == 0).collect();
    format!("{words:x?}")
}

/// Policy and parameters as sched_getattr(2) tells them: what `stat` leaves out is the runtime and SCHED_FLAG_*.
fn scheduler(tid: i32) -> String {
    let mut attributes = [0_u32; 16];
    attributes[0] = size_of_val(&attributes) as u32;
    // SAFETY: `attributes` is as large as is said, and lives through the call.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_getattr, tid, attributes.as_mut_ptr(), size_of_val(&attributes), 0) };
    if result < 0 { io::Error::last_os_error().to_string() } else { format!("{:x?}", &attributes[1..]) }
}

/// ioprio_get(2).
fn io_priority(tid: i32) -> String {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: takes numbers only.
    let value = unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, tid) };
    if value < 0 { io::Error::last_os_error().to_string() } else { format!("{value:#x}") }
}
