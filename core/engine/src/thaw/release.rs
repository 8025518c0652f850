//! The last step: the engine's pages go, every thread gets its registers, all are let go together.

use dormouse_wire::{Problem, ProblemKind, phrase};

use super::objects::Objects;
use super::tree::{Built, Tree, failed};
use crate::kernel::guard::Guard;
use crate::kernel::ptrace::{self, GeneralRegisters};
use crate::kernel::{Errno, pidfd};
use crate::model::RemotePtr;
use crate::puppet::kernel;
use crate::puppet::{Ground, Puppet, PuppetError, arch};
use crate::resource::group::{Alive, Group, Thread};
use crate::resource::task::{dispatch, frames, interrupted, registers};

/// Lets the group run; `last`: what is to be done right before, when nothing else can fail.
pub fn release(
    mut tree: Tree,
    group: &Group,
    objects: &Objects,
    last: impl FnOnce() -> Result<(), Problem>,
) -> Result<(), Problem> {
    let places = registers::Places::of(&group.components);
    for (process, built) in group.processes.iter().zip(&mut tree.built) {
        let (Some(alive), Some(built)) = (process.alive(), built.as_mut()) else { continue };
        let general = calls_made_again(built, alive)?;
        let shown = built.shown.clone();
        frames::restore(shown.pid, alive, &places).map_err(|problem| problem.of(&shown))?;
        let Some(leader) = built.puppets.first_mut() else { continue };
        built.stage.remove(leader, Ground::Instruction(built.instruction)).map_err(|error| failed(&error, &shown))?;
        for ((thread, puppet), general) in alive.threads.iter().zip(&mut built.puppets).zip(&general) {
            give_registers((thread, general), puppet, built.instruction, &places)
                .map_err(|error| failed(&error, &shown))?;
        }
    }
    objects.settle(group);
    let mut guard = guard(&tree)?;
    let puppets = || tree.built.iter().flatten().flat_map(|built| &built.puppets);
    for puppet in puppets() {
        if let Err(error) = ptrace::set_options(puppet.tid, ptrace::Options::default()) {
            tracing::warn!(tid = puppet.tid.0, %error, "a thread ended before it was let go");
        }
    }
    last()?;
    // From here on the group lives, whatever becomes of the engine.
    guard.dismiss();
    for puppet in puppets() {
        let _ = ptrace::detach(puppet.tid, 0);
    }
    for process in group.processes.iter().filter(|process| process.family.parent.is_none()) {
        if process.alive().is_some_and(|alive| alive.stop.by.is_some() && !alive.stop.news) {
            // Whoever had it as a child knows, and so do we.
            ptrace::take_news(process.pid().leader());
        }
    }
    tree.let_go();
    Ok(())
}

/// Whoever ends all of the group should the engine die before it has let go of all.
fn guard(tree: &Tree) -> Result<Guard, Problem> {
    let failed = |errno: Errno| {
        Problem::blocks(
            ProblemKind::Process,
            phrase!("nobody can guard the group while it is let go: {why}", why = errno.desc()),
        )
    };
    let leaders = tree.built.iter().flatten().map(|built| built.shown.pid);
    let handles = leaders.map(pidfd::open).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    Guard::begin(&handles).map_err(failed)
}

/// Lets threads make the calls again whose rest the kernel must keep; answers the registers that all threads go on with.
fn calls_made_again(built: &mut Built, alive: &Alive) -> Result<Vec<GeneralRegisters>, Problem> {
    let mut general: Vec<_> = alive.threads.iter().map(|thread| thread.registers.general).collect();
    for ((index, thread), puppet) in alive.threads.iter().enumerate().zip(&mut built.puppets) {
        let Some(call) = thread.interrupted else { continue };
        let desk = built.stage.desk(index);
        let arguments = interrupted::again(call, &thread.registers.general, desk.frame);
        let answer = puppet
            .interrupted_call(
                built.instruction,
                &desk,
                call.abi(),
                (call.number, arguments),
                &interrupted::rest_bytes(call),
            )
            .map_err(|error| failed(&error, &built.shown))?;
        if answer != arch::restart::RESTART_RESTARTBLOCK {
            // What it waited for is there already.
            general[index].rax = answer as u64;
            general[index].orig_rax = u64::MAX;
        }
    }
    Ok(general)
}

/// Gives a thread its registers and its mask, so that it is ready to go; a leader that had exited exits.
fn give_registers(
    (thread, general): (&Thread, &GeneralRegisters),
    puppet: &mut Puppet,
    instruction: RemotePtr,
    places: &registers::Places<'_>,
) -> Result<(), PuppetError> {
    if let Some(code) = thread.exited {
        // It must not end the others when we do, nor be let go: there is nothing left of it.
        let options = ptrace::Options { end_with_us: false, suspend_seccomp: puppet.is_confined() };
        let _ = ptrace::set_options(puppet.tid, options);
        let code = (code as u32 >> 8 & 0xff) as u64;
        puppet.go_to_call(instruction, libc::SYS_exit, [code, 0, 0, 0, 0, 0])?;
        ptrace::set_signal_mask(puppet.tid, thread.signals.mask).map_err(kernel("set the thread's signal mask"))?;
        return ptrace::resume(puppet.tid, 0).map_err(kernel("let the thread exit"));
    }
    dispatch::restore(thread.dispatch, puppet.tid).map_err(kernel("switch on its dispatch of system calls"))?;
    registers::restore(&thread.registers, general, puppet.tid, places).map_err(kernel("set the thread's registers"))?;
    ptrace::set_signal_mask(puppet.tid, thread.signals.mask).map_err(kernel("set the thread's signal mask"))
}
