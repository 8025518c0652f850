//! Processes that have ended and wait to be asked for: they are made, and end again in the same way, wait(2).

use dormouse_wire::{Problem, ProblemKind};

use super::tree::{Tree, failed};
use crate::arguments;
use crate::kernel::ptrace::{self, Event};
use crate::puppet::Batch;
use crate::resource::group::{Group, Life};

/// Ends those that had ended.
pub fn restore(tree: &mut Tree, group: &Group) -> Result<(), Problem> {
    for (index, process) in group.processes.iter().enumerate() {
        let Life::Zombie(status) = process.life else { continue };
        let Some(mut built) = tree.built[index].take() else { continue };
        let shown = process.shown();
        let mut batch = Batch::new();
        let name = batch.text(&process.name);
        batch.must("set the process's name", libc::SYS_prctl, arguments![libc::PR_SET_NAME, name]);
        let signal = status & 0x7f;
        if signal != 0 {
            let default = batch.bytes(&[0; 32]);
            batch.ask(libc::SYS_rt_sigaction, arguments![signal, default, 0, 8]);
            let none = batch.bytes(&[0; 16]);
            batch.must("forbid core files", libc::SYS_prlimit64, arguments![0, libc::RLIMIT_CORE, none, 0]);
        }
        built.run(&mut batch)?;
        let problem = |errno: crate::kernel::Errno| {
            Problem::blocks(ProblemKind::Process, format!("it could not be ended as it had ended: {}", errno.desc())).of(&shown)
        };
        let Some(leader) = built.puppets.first_mut() else { continue };
        let arguments = if signal == 0 {
            (libc::SYS_exit_group, [u64::from(status as u32 >> 8 & 0xff), 0, 0, 0, 0, 0])
        } else {
            ptrace::set_signal_mask(leader.tid, 0).map_err(problem)?;
            (libc::SYS_kill, [process.pid().0 as u64, signal as u64, 0, 0, 0, 0])
        };
        leader
            .leave_by_call(built.instruction, arguments.0, arguments.1)
            .map_err(|error| failed(&error, &shown))?;
        loop {
            match ptrace::wait(leader.tid).map_err(problem)? {
                Event::Ended(_) => break,
                Event::Signal(signal) => ptrace::resume(leader.tid, signal).map_err(problem)?,
                _ => ptrace::resume(leader.tid, 0).map_err(problem)?,
            }
        }
    }
    Ok(())
}
