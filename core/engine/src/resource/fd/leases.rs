//! Leases on files: whoever has one is told when others want to open the file, F_SETLEASE of fcntl_locking(2). It belongs to the
//! open file description, and ends with it. It is taken again by the first process that holds the file, once everybody of the
//! group has opened what he had, as the process's own user: a lease is only for who owns the file.
//!
//! Nothing of the engine's may open a leased file meanwhile: the holder stands still, and the kernel would wait for him for
//! /proc/sys/fs/lease-break-time.

// zoo: leases lease_to_write

use dormouse_wire::{Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};

use super::{FileFacts, Finish, OpenFile};
use crate::arguments;
use crate::kernel::Errno;
use crate::kernel::files;
use crate::proc::locks::LockKind;
use crate::puppet::{Batch, Call};

/// What the holder of a lease is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lease {
    /// F_RDLCK: somebody opens the file to write, or cuts it.
    Read,
    /// F_WRLCK: somebody opens the file.
    Write,
}

/// Whether a lease was taken through this description, whatever has become of it. Of what is on its way in a socket nobody shows the
/// locks.
pub fn is_leased(facts: &FileFacts) -> bool {
    facts.locks.iter().any(|seen| seen.lock.kind == LockKind::Lease) || is_leased_on_its_way(facts)
}

fn is_leased_on_its_way(facts: &FileFacts) -> bool {
    let holds = || matches!(files::lease(&facts.file), Ok(libc::F_RDLCK | libc::F_WRLCK));
    facts.holders.is_empty() && facts.file_type() == libc::S_IFREG && holds()
}

/// The lease that it has. Of one that is on its way out, what is left of it.
pub fn capture(facts: &FileFacts) -> Result<Option<Lease>, Problem> {
    if !is_leased(facts) || facts.holders.is_empty() {
        return Ok(None);
    }
    match files::lease(&facts.file) {
        Ok(libc::F_RDLCK) => Ok(Some(Lease::Read)),
        Ok(libc::F_WRLCK) => Ok(Some(Lease::Write)),
        Ok(_) => Ok(None),
        Err(errno) => {
            Err(facts.problem(ProblemKind::Lock, phrase!("its lease cannot be read: {why}", why = errno.desc())))
        }
    }
}

/// A lease on a file whose content goes into the image: that could not be read without breaking it. And one that nobody could take
/// again, for the file is on its way.
pub fn judge(facts: &FileFacts) -> Option<Problem> {
    let is_removed = facts.stat.st_nlink == 0 || facts.is_removed();
    if is_leased_on_its_way(facts) && !is_removed {
        let what = phrase!("it has a lease, and is on its way in a socket");
        return Some(facts.loss(ProblemKind::Lock, what, phrase!("that lease")));
    }
    (is_leased(facts) && is_removed).then(|| {
        let what = phrase!("it holds a lease on a file without a name, which cannot be given back yet");
        let way_out = phrase!("Close the file in the program, or pause the group instead");
        facts.problem(ProblemKind::Lock, what).way_out(way_out)
    })
}

/// Takes it again, if it can be had.
pub fn restore(file: &OpenFile, finish: &mut Finish<'_>) -> Option<Call> {
    let wanted = match file.lease? {
        Lease::Read => libc::F_RDLCK,
        Lease::Write => libc::F_WRLCK,
    };
    Some(finish.batch.ask(libc::SYS_fcntl, arguments![finish.number.0, libc::F_SETLEASE, wanted]))
}

/// What is lost where it could not be had.
pub fn lost(batch: &Batch, call: Call) -> Option<Problem> {
    let errno = batch.result(call).err()?;
    let what = match errno {
        Errno::EAGAIN => phrase!("somebody else has opened the file, so that its lease on it cannot be had again"),
        other => phrase!("its lease on the file cannot be had again: {why}", why = other.desc()),
    };
    let loss = phrase!("the lease: the program is not told any more when others open the file");
    Some(Problem::loses(ProblemKind::Lock, what, loss))
}
