//! Resource limits of a process, getrlimit(2).
//!
//! Read from proc_pid_limits(5): prlimit(2) on another user's process wants CAP_SYS_RESOURCE.

// zoo: limits

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, ProcessName, phrase};
use serde::{Deserialize, Serialize};

use crate::arguments;
use crate::kernel::{Errno, identity, limits};
use crate::proc;
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

/// Sets them from outside, where the process itself may raise nothing any more, if the engine may. Whether it did.
pub fn restore_from_outside(record: &Limits, pid: Pid) -> Result<bool, Errno> {
    if !identity::has_capability(SYS_RESOURCE) {
        return Ok(false);
    }
    record.0.iter().enumerate().try_for_each(|(resource, pair)| limits::set(pid, resource, *pair))?;
    Ok(true)
}

const SYS_RESOURCE: u32 = 24;

/// How far the engine can raise the hard limits of others.
#[derive(Debug)]
pub struct Reach(Option<proc::limits::Limits>);

impl Reach {
    /// That of this process: as far as its own, or without end, capabilities(7).
    pub fn own() -> Self {
        let own = || proc::parsed(Pid(std::process::id() as i32), "limits", proc::limits::parse).ok();
        Self(if identity::has_capability(SYS_RESOURCE) { None } else { own() })
    }

    /// Why a process with these hard limits cannot come back.
    pub fn judge(&self, hard: impl Iterator<Item = u64>, process: &ProcessName) -> Option<Problem> {
        let own = self.0.as_ref()?;
        let beyond = hard.zip(own).enumerate().filter(|(_, (hard, own))| *hard > own.hard);
        let beyond = beyond.map(|(resource, _)| name(resource));
        let beyond = beyond.reduce(|some, more| phrase!("{some}, {more}", some, more))?;
        let what = phrase!("its hard limit on {beyond} is above that of Dormouse, which may not raise it", beyond);
        let way_out = phrase!(
            "Run Dormouse with limits as high (sudo, for one, lowers that on core files), or with CAP_SYS_RESOURCE"
        );
        Some(Problem::blocks(ProblemKind::Privilege, what).of(process).way_out(way_out))
    }
}

/// What a limit is on, for a person.
pub fn name(resource: usize) -> Phrase {
    const NAMES: [Phrase; 16] = [
        phrase!("CPU time"),
        phrase!("file size"),
        phrase!("data size"),
        phrase!("stack size"),
        phrase!("core file size"),
        phrase!("resident set"),
        phrase!("processes"),
        phrase!("open files"),
        phrase!("locked memory"),
        phrase!("address space"),
        phrase!("file locks"),
        phrase!("pending signals"),
        phrase!("message queues"),
        phrase!("nice priority"),
        phrase!("realtime priority"),
        phrase!("realtime timeout"),
    ];
    NAMES.get(resource).cloned().unwrap_or(phrase!("a resource this version does not know"))
}
