//! Resource limits of a process, getrlimit(2).
//!
//! Read from proc_pid_limits(5): prlimit(2) on another user's process wants CAP_SYS_RESOURCE.

// zoo: limits

use serde::{Deserialize, Serialize};

use crate::arguments;
use crate::puppet::Batch;

/// Soft and hard limit of each resource, in the order of RLIMIT_*; `u64::MAX` is RLIM_INFINITY.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits(pub Vec<(u64, u64)>);

/// Sets them. Raising a hard limit above the engine's own wants CAP_SYS_RESOURCE.
pub fn restore(record: &Limits, batch: &mut Batch) {
    for (resource, (soft, hard)) in record.0.iter().enumerate() {
        let pair = batch.bytes(&[soft.to_ne_bytes(), hard.to_ne_bytes()].concat());
        batch.must(
            format!("set the limit on {}", name(resource)),
            libc::SYS_prlimit64,
            arguments![0, resource, pair, 0],
        );
    }
}

/// What a limit is on, for a person.
pub fn name(resource: usize) -> &'static str {
    const NAMES: [&str; 16] = [
        "CPU time",
        "file size",
        "data size",
        "stack size",
        "core file size",
        "resident set",
        "processes",
        "open files",
        "locked memory",
        "address space",
        "file locks",
        "pending signals",
        "message queues",
        "nice priority",
        "realtime priority",
        "realtime timeout",
    ];
    NAMES.get(resource).copied().unwrap_or("a resource this version does not know")
}
