//! Processes that a signal had stopped are stopped by it again, and those that were continued are continued, so that the
//! parent can wait for the news that it has not had, wait(2).
//!
//! This comes before the signals that waited for such a process: they must wait on.

use std::os::fd::AsFd;

use dormouse_wire::{Problem, ProblemKind, phrase};

use super::tree::{Built, Tree, failed};
use crate::kernel::{Errno, pidfd};
use crate::puppet::Batch;
use crate::resource::group::{Group, Process};
use crate::resource::namespace::inner::called_by_parent;
use crate::resource::task::signals::{self, Disposition};
use crate::resource::task::stop::take_news;

/// Stops and continues them. They are all still ours to work in.
pub fn restore(tree: &mut Tree, group: &Group) -> Result<(), Problem> {
    for (process, built) in group.processes.iter().zip(&mut tree.built) {
        let (Some(alive), Some(built)) = (process.alive(), built.as_mut()) else { continue };
        if alive.stop.is_nothing() {
            continue;
        }
        stop(built, alive.stop.by.unwrap_or(libc::SIGSTOP))?;
        if alive.stop.by.is_none() {
            continue_again(built, process)?;
        }
    }
    for process in &group.processes {
        let stop = process.alive().map(|alive| alive.stop).unwrap_or_default();
        let parent =
            process.family.parent.and_then(|parent| group.processes.iter().position(|other| other.pid() == parent));
        if let (Some(_), false, Some(parent)) = (stop.by, stop.news, parent)
            && let Some(built) = tree.built[parent].as_mut()
        {
            let mut batch = Batch::new();
            take_news(called_by_parent(group, process), &mut batch);
            built.run(&mut batch)?;
        }
    }
    Ok(())
}

fn stop(built: &mut Built, signal: i32) -> Result<(), Problem> {
    let (instruction, shown) = (built.instruction, built.shown.clone());
    // The engine may ignore it, and what was copied from the engine then does too.
    if signal != libc::SIGSTOP {
        let mut batch = Batch::new();
        signals::restore_disposition(&Disposition { signal, ..Disposition::default() }, &mut batch);
        built.run(&mut batch)?;
    }
    let Some((leader, others)) = built.puppets.split_first_mut() else { return Ok(()) };
    let wrong = |error| failed(&error, &shown);
    // An orphaned process group is not stopped by a terminal's signals.
    if !leader.stop_process(instruction, signal).map_err(wrong)? {
        leader.stop_process(instruction, libc::SIGSTOP).map_err(wrong)?;
    }
    others.iter_mut().try_for_each(|thread| thread.join_stop(instruction).map_err(wrong).map(drop))
}

fn continue_again(built: &mut Built, process: &Process) -> Result<(), Problem> {
    let problem = |errno: Errno| {
        let what = phrase!("it cannot be continued: {why}", why = errno.desc());
        Problem::blocks(ProblemKind::Signal, what).of(&process.shown())
    };
    let handle = pidfd::open(process.pid()).map_err(problem)?;
    pidfd::send_signal(handle.as_fd(), libc::SIGCONT).map_err(problem)?;
    let mut batch = Batch::new();
    signals::forget(libc::SIGCONT, &mut batch);
    built.run(&mut batch)
}
