//! Process groups, once all processes are there: setpgid(2). Then the stand-ins for dead leaders end.

use dormouse_wire::{Pid, Problem, ProblemKind, phrase};

use super::standins::{self, StandIn};
use super::tree::Tree;
use crate::arguments;
use crate::puppet::Batch;
use crate::resource::group::{Group, Process};
use crate::resource::namespace::inner::called;

/// Puts every process into its process group: leaders first, for a group is there only when its leader has made it.
pub fn restore(tree: &mut Tree, group: &Group) -> Result<(), Problem> {
    for (index, process) in group.processes.iter().enumerate() {
        let family = &process.family;
        if family.process_group == process.pid() && !family.leads_session() {
            join(tree, group, index, process)?;
        }
    }
    for (index, process) in group.processes.iter().enumerate() {
        let family = &process.family;
        // One that is outside the group is the caller's; every process was born in that.
        if family.process_group == process.pid() || family.process_group_outside {
            continue;
        }
        let led = group.processes.iter().any(|other| other.pid() == family.process_group);
        let stood_in = tree.stand_ins.iter().any(|stand_in| stand_in.built.shown.pid == family.process_group);
        if !led && !stood_in && process.place.pid.is_none() {
            stand_in(tree, index, family.process_group)?;
        }
        join(tree, group, index, process)?;
    }
    check(tree, group)?;
    dismiss(tree)
}

fn join(tree: &mut Tree, group: &Group, index: usize, process: &Process) -> Result<(), Problem> {
    let Some(built) = tree.built[index].as_mut() else { return Ok(()) };
    let Some(leader) = leader_called(group, process) else { return Ok(()) };
    let mut batch = Batch::new();
    batch.must("join its process group", libc::SYS_setpgid, arguments![0, leader]);
    built.run(&mut batch)
}

/// What the leader of its process group is called where a process lives. None: it is not seen from there, and the process was born in its group.
fn leader_called(group: &Group, process: &Process) -> Option<i32> {
    let leader = process.family.process_group;
    match group.processes.iter().find(|other| other.pid() == leader) {
        Some(found) => (found.place.pid == process.place.pid).then(|| called(found).0),
        None => process.place.pid.is_none().then_some(leader.0),
    }
}

/// Lets a member make a stand-in for the dead leader of its process group.
fn stand_in(tree: &mut Tree, member: usize, leader: Pid) -> Result<(), Problem> {
    let shown = standins::shown(leader);
    let Some(above) = tree.built[member].as_mut() else { return Err(standins::lost(&shown)) };
    let mut built = above.make_child(leader, 0, 0, &shown)?;
    let mut batch = Batch::new();
    batch.must("make a process group", libc::SYS_setpgid, arguments![0, 0]);
    built.run(&mut batch)?;
    tree.stand_ins.push(StandIn { built, parent: Some(member) });
    Ok(())
}

/// Whether everybody is where the record has them.
fn check(tree: &Tree, group: &Group) -> Result<(), Problem> {
    for (process, built) in group.processes.iter().zip(&tree.built) {
        if built.is_none() || process.family.session_outside {
            continue;
        }
        let stat = crate::proc::parsed(process.pid(), "stat", crate::proc::stat::parse)
            .map_err(|error| Problem::blocks(ProblemKind::Process, error.said()).of(&process.shown()))?;
        if stat.session != process.family.session {
            let what = phrase!("it could not be put into its session {session}", session = process.family.session);
            return Err(Problem::blocks(ProblemKind::Family, what).of(&process.shown()));
        }
        if process.place.pid.is_some()
            && !process.family.process_group_outside
            && stat.pgrp != process.family.process_group
        {
            let what = phrase!("it could not be put into its process group {id}", id = process.family.process_group);
            return Err(Problem::blocks(ProblemKind::Family, what).of(&process.shown()));
        }
    }
    Ok(())
}

/// Ends the stand-ins. Their children go to the nearest subreaper above them, as they had.
fn dismiss(tree: &mut Tree) -> Result<(), Problem> {
    for mut stand_in in std::mem::take(&mut tree.stand_ins) {
        if let Some(parent) = stand_in.parent
            && let Some(built) = tree.built[parent].as_mut()
        {
            let mut batch = Batch::new();
            let on = 1;
            batch.must("adopt orphans", libc::SYS_prctl, arguments![libc::PR_SET_CHILD_SUBREAPER, on]);
            built.run(&mut batch)?;
        }
        stand_in.end();
        let Some(parent) = stand_in.parent else { continue };
        let Some(built) = tree.built[parent].as_mut() else { continue };
        standins::reap(built, stand_in.built.shown.pid)?;
    }
    Ok(())
}
