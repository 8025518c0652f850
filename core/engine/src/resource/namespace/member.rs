//! What a member of a sandbox has that nobody in a user namespace can be given, user_namespaces(7): the check asks the living, and the
//! thaw what it reads.

// zoo: none, because a group with namespaces of its own is no program: see tests/capsules

use dormouse_wire::{Phrase, Problem, ProblemKind, ProcessName, phrase};

fn refuse(member: &ProcessName, what: Phrase) -> Problem {
    Problem::blocks(ProblemKind::Namespace, what).of(member).way_out(phrase!("Pause the group instead"))
}

/// It shares its place in the filesystem with somebody, and would have to go into a user namespace, which no sharer may: setns(2).
pub fn shares_its_place(member: &ProcessName) -> Problem {
    let what = phrase!(
        "it shares its working directory with another process (CLONE_FS), and could not come into its user namespace so"
    );
    refuse(member, what)
}

/// What is put together anew for a user namespace comes back as one piece: who is mighty in it cannot take it apart any more.
pub fn may_change_mounts(member: &ProcessName) -> Problem {
    let what = phrase!("it may change the mounts of its sandbox, which belong to a user namespace");
    let loss = phrase!("its right to unmount what is mounted there now, or to mount it with other flags");
    Problem::loses(ProblemKind::Namespace, what, loss).of(member)
}

/// It has a priority, or a timer, that wants a capability outside: sched(7), timer_create(2).
pub fn is_favoured(member: &ProcessName) -> Problem {
    let what =
        phrase!("it runs before others or wakes the machine, which nobody in a user namespace of its own may ask for");
    refuse(member, what)
}
