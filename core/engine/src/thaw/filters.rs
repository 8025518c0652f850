//! What confines the system calls of a process, seccomp(2), is given back while it is lifted: it begins when the process is let
//! go, and hits nothing of what the engine still has to do in it.
//!
//! Before the credentials: without no_new_privs a filter wants CAP_SYS_ADMIN, which the process need not have.

use dormouse_wire::{Problem, ProblemKind, ProcessName, phrase};

use super::tree::{Built, failed};
use crate::kernel::Errno;
use crate::puppet::Batch;
use crate::resource::group::Alive;
use crate::resource::task::seccomp::{self, Seccomp};

/// Confines the threads of a process.
pub fn restore(built: &mut Built, alive: &Alive) -> Result<(), Problem> {
    let confined = |thread: &Seccomp| *thread != Seccomp::Off;
    if !alive.threads.iter().any(|thread| confined(&thread.seccomp)) {
        return Ok(());
    }
    for puppet in &mut built.puppets {
        puppet.lift_confinement(true).map_err(|errno| not_lifted(errno, &built.shown))?;
    }
    let living: Vec<_> = alive.threads.iter().enumerate().filter(|(_, thread)| thread.exited.is_none()).collect();
    let states: Vec<&Seccomp> = living.iter().map(|(_, thread)| &thread.seccomp).collect();
    let common = if states.len() > 1 { seccomp::common(&states) } else { 0 };
    for (place, (index, thread)) in living.iter().enumerate() {
        let mut batch = Batch::new();
        match &thread.seccomp {
            Seccomp::Off => {}
            Seccomp::Strict => seccomp::become_strict(&mut batch),
            Seccomp::Filters(filters) => {
                // The first one takes on for all what all have.
                for (order, filter) in filters.iter().enumerate().skip(if place == 0 { 0 } else { common }) {
                    let Some(filter) = alive.filters.get(*filter) else { continue };
                    seccomp::install(filter, order < common, &mut batch);
                }
            }
        }
        // All on the leader's desk, one after the other: a filter may be larger than the desks of the others.
        let desk = built.stage.desk(0);
        let puppet = &mut built.puppets[*index];
        puppet.run(&desk, &mut batch).map_err(|error| failed(&error, &built.shown))?;
    }
    Ok(())
}

fn not_lifted(errno: Errno, process: &ProcessName) -> Problem {
    let what = phrase!("it is to be confined by seccomp, and Dormouse cannot hold that off: {why}", why = errno.desc());
    let problem = Problem::blocks(ProblemKind::Privilege, what).of(process);
    problem.way_out(phrase!("Run Dormouse as root, outside of any sandbox"))
}
