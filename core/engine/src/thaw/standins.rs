//! Stand-ins: a session or process group can outlive its leader, setsid(2), setpgid(2). To build one, somebody must be
//! born with the dead leader's pid, make it, and end again when all members are in it.

use dormouse_wire::{Pid, Problem, ProblemKind, ProcessName};

use super::tree::Built;
use crate::kernel::ptrace::{self, Event};
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
    Problem::blocks(ProblemKind::Image, "its parent is not there").of(process)
}

/// The leader of a process's session, if it is dead and the session is the group's own.
pub fn dead_leader(group: &Group, process: &Process) -> Option<Pid> {
    let session = process.family.session;
    let alive = group.processes.iter().any(|other| other.pid() == session);
    (!alive && !process.family.session_outside).then_some(session)
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
