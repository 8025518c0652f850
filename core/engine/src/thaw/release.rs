//! The last step: the engine's pages go, every thread gets its registers, all are let go together.

use dormouse_wire::{Problem, ProblemKind};

use super::tree::{Tree, failed};
use crate::kernel::guard::Guard;
use crate::kernel::{Errno, pidfd, ptrace};
use crate::resource::group::Group;
use crate::puppet::{Ground, arch};
use crate::resource::task::{interrupted, registers};

/// Lets the group run.
pub fn release(mut tree: Tree, group: &Group) -> Result<(), Problem> {
    for (process, built) in group.processes.iter().zip(&mut tree.built) {
        let (Some(alive), Some(built)) = (process.alive(), built.as_mut()) else { continue };
        let shown = built.shown.clone();
        let mut general: Vec<_> = alive.threads.iter().map(|thread| thread.registers.general).collect();
        for (index, thread) in alive.threads.iter().enumerate() {
            if let Some(call) = thread.interrupted {
                let (desk, instruction) = (built.stage.desk(index), built.instruction);
                let arguments = interrupted::again(call, &thread.registers.general, desk.frame);
                let answer = built.puppets[index]
                    .interrupted_call(instruction, (call.number, arguments), (desk.frame, &interrupted::rest_bytes(call)))
                    .map_err(|error| failed(&error, &shown))?;
                if answer != arch::restart::RESTART_RESTARTBLOCK {
                    // What it waited for is there already.
                    general[index].rax = answer as u64;
                    general[index].orig_rax = u64::MAX;
                }
            }
        }
        let Some(leader) = built.puppets.first_mut() else { continue };
        built.stage.remove(leader, Ground::Instruction(built.instruction)).map_err(|error| failed(&error, &shown))?;
        for ((thread, puppet), general) in alive.threads.iter().zip(&mut built.puppets).zip(&general) {
            if let Some(code) = thread.exited {
                // It must not end the others when we do, nor be let go: there is nothing left of it.
                let _ = ptrace::end_with_us(puppet.tid, false);
                let code = (code as u32 >> 8 & 0xff) as u64;
                puppet
                    .leave_by_call(built.instruction, libc::SYS_exit, [code, 0, 0, 0, 0, 0])
                    .map_err(|error| failed(&error, &shown))?;
                continue;
            }
            let problem = |errno: Errno| {
                let what = format!("the registers of thread {} cannot be set: {}", thread.tid, errno.desc());
                Problem::blocks(ProblemKind::Processor, what).of(&shown)
            };
            registers::restore(&thread.registers, general, puppet.tid).map_err(problem)?;
            ptrace::set_signal_mask(puppet.tid, thread.signals.mask).map_err(problem)?;
        }
    }
    let mut guard = guard(&tree)?;
    let puppets = || tree.built.iter().flatten().flat_map(|built| &built.puppets);
    for puppet in puppets() {
        if let Err(error) = ptrace::end_with_us(puppet.tid, false) {
            tracing::warn!(tid = puppet.tid.0, %error, "a thread ended before it was let go");
        }
    }
    for (process, built) in group.processes.iter().zip(&tree.built) {
        if built.is_some() && process.alive().is_some_and(|alive| alive.stopped_by.is_some()) {
            let stop = nix::sys::signal::Signal::SIGSTOP;
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.pid().0), stop);
        }
    }
    // From here on the group lives, whatever becomes of the engine.
    guard.dismiss();
    for puppet in puppets() {
        let _ = ptrace::detach(puppet.tid, 0);
    }
    tree.let_go();
    Ok(())
}

/// Whoever ends all of the group should the engine die before it has let go of all.
fn guard(tree: &Tree) -> Result<Guard, Problem> {
    let failed = |errno: Errno| {
        Problem::blocks(ProblemKind::Process, format!("nobody can guard the group while it is let go: {}", errno.desc()))
    };
    let leaders = tree.built.iter().flatten().map(|built| built.shown.pid);
    let handles = leaders.map(pidfd::open).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    Guard::begin(&handles).map_err(failed)
}
