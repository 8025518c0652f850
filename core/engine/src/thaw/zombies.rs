//! Processes that have ended and wait to be asked for: they are made, and end again in the same way, wait(2).

use dormouse_wire::{Problem, ProblemKind, phrase};

use super::home::Home;
use super::inner::InnerMade;
use super::tree::{Built, Tree, failed};
use crate::arguments;
use crate::kernel::ptrace::{self, Event};
use crate::kernel::{Errno, pidfd};
use crate::puppet::Batch;
use crate::resource::group::{Group, Life, Process};
use crate::resource::namespace::inner::called;
use crate::resource::task::zombie::{self, End, Zombie};

/// Ends those that had ended.
pub fn restore(tree: &mut Tree, group: &Group, inner: &InnerMade) -> Result<(), Problem> {
    for (index, process) in group.processes.iter().enumerate() {
        let Life::Zombie(record) = &process.life else { continue };
        let Some(built) = tree.built[index].as_mut() else { continue };
        let mut batch = Batch::new();
        let name = batch.text(&process.name);
        batch.must("set the process's name", libc::SYS_prctl, arguments![libc::PR_SET_NAME, name]);
        let (credentials, own) = Home { group, inner, process }.given(&record.credentials)?;
        zombie::restore(&Zombie { credentials, ..record.clone() }, own, &mut batch);
        built.run(&mut batch)?;
        end(built, record, process)?;
        tree.built[index] = None;
    }
    Ok(())
}

fn end(built: &mut Built, record: &Zombie, process: &Process) -> Result<(), Problem> {
    let shown = &process.shown();
    let problem = |errno: Errno| {
        Problem::blocks(
            ProblemKind::Process,
            phrase!("it could not be ended as it had ended: {why}", why = errno.desc()),
        )
        .of(shown)
    };
    let (Some(leader), Some(end)) = (built.puppets.first_mut(), record.end()) else {
        return Err(problem(Errno::EINVAL));
    };
    let (number, arguments) = match end {
        End::Code(code) => (libc::SYS_exit_group, [code.into(), 0, 0, 0, 0, 0]),
        End::Signal(signal) => (libc::SYS_kill, [called(process).0 as u64, signal as u64, 0, 0, 0, 0]),
    };
    let handle = pidfd::open(shown.pid).map_err(problem)?;
    leader.go_to_call(built.instruction, number, arguments).map_err(|error| failed(&error, shown))?;
    ptrace::set_signal_mask(leader.tid, record.last_mask()).map_err(problem)?;
    match end {
        End::Code(_) => {
            ptrace::resume(leader.tid, 0).map_err(problem)?;
            while !matches!(ptrace::wait(leader.tid).map_err(problem)?, Event::Ended(_)) {
                ptrace::resume(leader.tid, 0).map_err(problem)?;
            }
            Ok(())
        }
        // A signal does not end a traced process at once, but is shown to the tracer first.
        End::Signal(_) => {
            ptrace::detach(leader.tid, 0).map_err(problem)?;
            pidfd::wait_for_end(&handle).map_err(problem)
        }
    }
}
