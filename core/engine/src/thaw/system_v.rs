//! System V semaphores and message queues of the group: those that are there are used, the others made again.

use std::collections::BTreeSet;

use dormouse_wire::{Pid, Problem};

use crate::kernel::system_v::Object;
use crate::resource::group::{Group, Process};
use crate::resource::system_v::{Made, queue, semaphores};

/// What stands in the way of them.
pub fn preflight(group: &Group) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !group.semaphores.is_empty() {
        let there = semaphores::there();
        let of_set = |set: &semaphores::Set| set.known.preflight(Object::Semaphores, set.values.len(), &there);
        problems.extend(group.semaphores.iter().filter_map(of_set));
    }
    if !group.queues.is_empty() {
        let there = queue::there();
        problems.extend(group.queues.iter().filter_map(|queue| queue.known.preflight(Object::Queue, 0, &there)));
    }
    problems
}

/// Finds them or makes them.
pub fn restore(group: &Group) -> Result<Vec<Made>, Problem> {
    let mut made = Vec::new();
    let members: BTreeSet<Pid> = group.processes.iter().map(Process::pid).collect();
    if !group.semaphores.is_empty() {
        let there = semaphores::there();
        for set in &group.semaphores {
            made.push(set.restore(&there, &members)?);
        }
    }
    if !group.queues.is_empty() {
        let there = queue::there();
        for queue in &group.queues {
            made.push(queue.restore(&there)?);
        }
    }
    Ok(made)
}
