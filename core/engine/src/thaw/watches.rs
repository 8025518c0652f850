//! What epoll sets watch, epoll_ctl(2): added while every process still has all files of the group, for a set may watch
//! what another process has open, or what was closed under its number since.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use dormouse_wire::{Pid, Problem, ProblemKind, phrase};

use super::objects::Objects;
use super::tree::Tree;
use crate::puppet::Batch;
use crate::resource::fd::epoll::Watching;
use crate::resource::group::Group;

/// Adds all watches.
pub fn restore(tree: &mut Tree, group: &Group, objects: &Objects) -> Result<(), Problem> {
    let mut watching = Watching::of(&group.open_files, &|id| objects.open_file(id).map(AsFd::as_fd))?;
    run(tree, group, &mut watching.used_up)?;
    watching.calm();
    run(tree, group, &mut watching.armed)
}

fn run(tree: &mut Tree, group: &Group, batches: &mut BTreeMap<Pid, Batch>) -> Result<(), Problem> {
    for (process, built) in group.processes.iter().zip(&mut tree.built) {
        if let (Some(built), Some(mut batch)) = (built, batches.remove(&process.pid())) {
            built.run(&mut batch)?;
        }
    }
    let what = |pid: &Pid| {
        phrase!(
            "the image contradicts itself: {what}",
            what = format!("pid {pid} adds to an epoll set and does not live")
        )
    };
    batches.keys().next().map_or(Ok(()), |pid| Err(Problem::blocks(ProblemKind::Image, what(pid))))
}
