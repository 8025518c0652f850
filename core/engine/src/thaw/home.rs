//! Into the user namespace that members live in, where that is not the one they were born in: whoever makes a process with a pid must be
//! mighty over its pid namespace, and that may belong to one further out. Only who has one thread may go there, setns(2).

use std::os::fd::AsRawFd;

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};

use super::tree::{Built, Tree};
use crate::arguments;
use crate::kernel::clone::CloneArguments;
use crate::kernel::namespaces;
use crate::puppet::Batch;
use crate::resource::group::Alive;
use crate::resource::namespace::user;
use crate::resource::task::credentials;

/// Sends everybody there.
pub fn go(tree: &mut Tree) -> Result<(), Problem> {
    let Some(made) = user::made().filter(|made| made.is_elsewhere()) else { return Ok(()) };
    let Some((_, namespace)) = made.home() else { return Ok(()) };
    for built in tree.built.iter_mut().flatten() {
        let mut batch = Batch::new();
        if made.birth.is_none() {
            credentials::set_groups(&made.groups, &mut batch);
        }
        batch.must(
            "go into its user namespace",
            libc::SYS_setns,
            arguments![namespace.as_raw_fd(), libc::CLONE_NEWUSER],
        );
        built.run(&mut batch)?;
    }
    Ok(())
}

/// Makes the other threads of a process that may not choose their numbers any more: the next one is chosen from outside.
pub fn threads(built: &mut Built, alive: &Alive, flags: u64) -> Result<(), Problem> {
    for thread in alive.threads.iter().skip(1) {
        let shown = built.shown.clone();
        let failed = |what: Phrase| {
            let problem = Problem::blocks(ProblemKind::Thread, what);
            problem.of(&shown).way_out(phrase!("Try again"))
        };
        namespaces::next_pid(thread.tid.0).map_err(|error| {
            failed(phrase!("thread {tid} cannot have its number: {why}", tid = thread.tid, why = error))
        })?;
        let mut batch = Batch::new();
        let arguments = CloneArguments { flags: flags | libc::CLONE_PTRACE as u64, ..CloneArguments::default() };
        let place = batch.bytes(&arguments.to_bytes());
        let made = batch.must("make a thread", libc::SYS_clone3, arguments![place, size_of::<CloneArguments>()]);
        built.run(&mut batch)?;
        let made = batch.result(made).unwrap_or(0);
        if made != thread.tid.0 as u64 {
            return Err(failed(phrase!("thread {tid} has come as {made}", tid = thread.tid, made)));
        }
    }
    Ok(())
}
