//! Landlock, landlock(7). No interface shows whether a thread is in a domain, and none gives a domain back; so a thread
//! that is in one is refused.
//!
//! It is found out by what every domain forbids: to look into a process outside it (kcmp(2), which asks as ptrace(2)
//! does). A process that nothing else keeps the thread from looking into stands by for that.

// zoo: landlock

use std::os::fd::{AsFd, OwnedFd};

use dormouse_wire::{Pid, Problem, ProblemKind, Tid, phrase};

use crate::arguments;
use crate::kernel::bystander::Bystander;
use crate::kernel::{Answer, Errno, features, files, kcmp, namespaces, user_namespaces};
use crate::proc;
use crate::puppet::{Batch, Call};

/// Processes to look into: one for each user and group that a thread has, in each user namespace and each of pids.
#[derive(Debug)]
pub struct Witnesses {
    needed: bool,
    known: Vec<((u64, u64, u32, u32), Bystander)>,
}

impl Witnesses {
    /// Nobody yet.
    pub fn nobody() -> Self {
        Self { needed: features::landlock(), known: Vec::new() }
    }

    /// One that this thread, of this real user and group, may look into; none where the kernel has no Landlock.
    pub fn of(&mut self, thread: Tid, user: u32, group: u32) -> Answer<Option<Tid>> {
        if !self.needed {
            return Ok(None);
        }
        let open = |tid: i32, kind: &str| files::open(&proc::folder(Pid(tid)).join("ns").join(kind), libc::O_RDONLY);
        let theirs = |kind| -> Answer<(OwnedFd, u64, bool)> {
            let (theirs, own) = (open(thread.0, kind)?, open(std::process::id() as i32, kind)?);
            let inode = user_namespaces::inode(&theirs)?;
            Ok((theirs, inode, inode != user_namespaces::inode(&own)?))
        };
        let ((users, place, other_users), (pids, numbers, other_pids)) = (theirs("user")?, theirs("pid")?);
        let wanted = (place, numbers, user, group);
        if let Some((_, known)) = self.known.iter().find(|(ids, _)| *ids == wanted) {
            return Ok(Some(known.tid()));
        }
        let make = || Bystander::new(user, group, other_users.then(|| users.as_fd()));
        let made = if other_pids { namespaces::visit(&pids, "pid_for_children", make)?? } else { make()? };
        let tid = made.tid();
        self.known.push((wanted, made));
        Ok(Some(tid))
    }
}

/// Lets the thread look into the witness.
pub fn ask(witness: Option<Tid>, batch: &mut Batch) -> Option<Call> {
    let ask = |tid: Tid| batch.ask(libc::SYS_kcmp, arguments![tid.0, tid.0, kcmp::Shared::Memory as i32, 0, 0]);
    witness.map(ask)
}

/// The refusal of a thread that must not.
pub fn judge(asked: Option<Call>, batch: &Batch) -> Option<Problem> {
    match asked.map(|call| batch.result(call)) {
        None | Some(Ok(_)) => None,
        Some(Err(Errno::EPERM)) => Some(
            Problem::blocks(
                ProblemKind::Confinement,
                phrase!("it is confined by Landlock, which cannot be given back"),
            )
            .way_out(phrase!("Pause the group instead")),
        ),
        // Whoever is not seen by the thread does not tell that it is free.
        Some(Err(errno)) => {
            let what = phrase!("whether Landlock confines it cannot be found out: {why}", why = errno.desc());
            Some(Problem::blocks(ProblemKind::Privilege, what).way_out(phrase!("Run Dormouse as root")))
        }
    }
}
