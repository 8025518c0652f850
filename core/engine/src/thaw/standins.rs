//! Stand-ins: a session or process group can outlive its leader, setsid(2), setpgid(2). To build one, somebody must be
//! born with the dead leader's pid, make it, and end again when all members are in it.

use std::collections::HashSet;

use dormouse_wire::{Pid, Problem, ProblemKind, ProcessName, phrase};

use super::tree::Built;
use crate::arguments;
use crate::kernel::ptrace::{self, Event};
use crate::puppet::Batch;
use crate::resource::group::{Group, Process};

/// A stand-in.
#[derive(Debug)]
pub struct StandIn {
    /// The process.
    pub built: Built,
    /// Its parent in the group; none: the engine.
    pub parent: Option<usize>,
}

/// For messages.
pub fn shown(leader: Pid) -> ProcessName {
    ProcessName { pid: leader, comm: "a stand-in for a leader that is dead".into() }
}

/// A parent that is not there.
pub fn lost(process: &ProcessName) -> Problem {
    Problem::blocks(ProblemKind::Image, phrase!("its parent is not there")).of(process)
}

/// The leader of a process's session, if it is dead and the session is the group's own.
pub fn dead_leader(group: &Group, process: &Process) -> Option<Pid> {
    let session = process.family.session;
    let alive = group.processes.iter().any(|other| other.pid() == session);
    (!alive && !process.family.session_outside).then_some(session)
}

/// The process that leads the session of another one whose parent is dead or outside.
pub fn led_by(group: &Group, process: &Process) -> Option<usize> {
    let session = process.family.session;
    let leader = group.processes.iter().position(|other| other.pid() == session && other.family.session == session)?;
    (process.family.parent.is_none() && process.pid() != session).then_some(leader)
}

/// Whose memory a process has while it is built, if it has none of its own any more.
pub fn memory_of(group: &Group, process: usize) -> Option<usize> {
    let parent = |index: &usize| {
        let parent = group.processes[*index].family.parent?;
        group.processes.iter().position(|other| other.pid() == parent)
    };
    std::iter::successors(Some(process), parent).find(|index| group.processes[*index].alive().is_some())
}

/// A pid that nobody has, here or in the group.
pub fn free_pid(group: &Group) -> Result<Pid, Problem> {
    free_pids(group, 1).map(|free| Pid(free[0]))
}

/// So many of them, which nobody in the group has in a pid namespace further in either; one at least.
pub fn free_pids(group: &Group, count: usize) -> Result<Vec<i32>, Problem> {
    let highest = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok().and_then(|text| text.trim().parse().ok());
    let numbers = |process: &Process| {
        let threads = process.alive().map(|alive| alive.threads.as_slice()).unwrap_or_default();
        let inner = threads.iter().flat_map(|thread| thread.inner.iter().copied().chain([thread.tid.0]));
        inner.chain(process.inner.iter().copied()).chain([process.pid().0]).collect::<Vec<_>>()
    };
    let wanted: HashSet<i32> = group.processes.iter().flat_map(numbers).collect();
    let taken = |pid: &i32| wanted.contains(pid) || std::path::Path::new(&format!("/proc/{pid}")).exists();
    // Two thaws at the same time look in different places.
    let (lowest, highest) = (300, highest.unwrap_or(32768).max(301));
    let start = lowest + std::process::id() as i32 % (highest - lowest);
    let free = (lowest..start).rev().chain((start..highest).rev()).filter(|pid| !taken(pid));
    let free: Vec<i32> = free.take(count.max(1)).collect();
    if free.is_empty() { Err(Problem::blocks(ProblemKind::PidTaken, phrase!("no pid is free"))) } else { Ok(free) }
}

/// Lets a parent wait for a stand-in that has ended.
pub fn reap(parent: &mut Built, stand_in: Pid) -> Result<(), Problem> {
    let mut batch = Batch::new();
    batch.must("wait for a stand-in", libc::SYS_wait4, arguments![stand_in.0, 0, libc::__WALL, 0]);
    parent.run(&mut batch)
}

/// Whether a process is in a session itself.
pub fn is_inside(group: &Group, process: usize, session: Pid) -> bool {
    group.processes[process].family.session == session
}

impl StandIn {
    /// Ends it. Its parent in the group, if it has one, still has to wait for it.
    pub fn end(&mut self) {
        use std::os::fd::AsFd;
        let pid = self.built.shown.pid;
        if let Ok(handle) = crate::kernel::pidfd::open(pid) {
            let _ = crate::kernel::pidfd::send_signal(handle.as_fd(), libc::SIGKILL);
        }
        while let Ok(event) = ptrace::wait(pid.leader()) {
            if matches!(event, Event::Ended(_)) {
                break;
            }
        }
    }
}
