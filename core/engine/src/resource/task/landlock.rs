//! Landlock, landlock(7). No interface shows whether a thread is in a domain, and none gives a domain back; so a thread
//! that is in one is refused.
//!
//! It is found out by what every domain forbids: to look into a process outside it (kcmp(2), which asks as ptrace(2)
//! does). A process that nothing else keeps the thread from looking into stands by for that.

// zoo: landlock

use std::os::fd::AsFd;

use dormouse_wire::{Pid, Problem, ProblemKind, Tid, phrase};

use crate::arguments;
use crate::kernel::bystander::Bystander;
use crate::kernel::{Answer, Errno, features, files, kcmp, user_namespaces};
use crate::proc;
use crate::puppet::{Batch, Call};

/// Processes to look into: one for each user and group that a thread has, in each user namespace.
#[derive(Debug)]
pub struct Witnesses {
    needed: bool,
    known: Vec<((u64, u32, u32), Bystander)>,
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
        let open = |tid: i32| files::open(&proc::folder(Pid(tid)).join("ns/user"), libc::O_RDONLY);
        let (theirs, own) = (open(thread.0)?, open(std::process::id() as i32)?);
        let place = user_namespaces::inode(&theirs)?;
        if let Some((_, known)) = self.known.iter().find(|(ids, _)| *ids == (place, user, group)) {
            return Ok(Some(known.tid()));
        }
        let is_elsewhere = place != user_namespaces::inode(&own)?;
        let made = Bystander::new(user, group, is_elsewhere.then(|| theirs.as_fd()))?;
        let tid = made.tid();
        self.known.push(((place, user, group), made));
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
    let confined = asked.is_some_and(|call| batch.result(call) == Err(Errno::EPERM));
    confined.then(|| {
        Problem::blocks(ProblemKind::Confinement, phrase!("it is confined by Landlock, which cannot be given back"))
            .way_out(phrase!("Pause the group instead"))
    })
}
