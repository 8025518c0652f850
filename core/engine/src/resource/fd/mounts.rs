//! Among which mounts a file was opened, where only some members of the group live among them: its name leads to it there.

// zoo: no kind

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use dormouse_wire::{Problem, ProblemKind, phrase};

use super::FileFacts;
use crate::kernel::{Answer, Errno, among};

/// Mounts that only some members of a group live among.
#[derive(Clone, Debug)]
pub struct MountsWithin {
    /// Their place in the list of namespaces.
    pub index: usize,
    /// Their namespace.
    pub namespace: Arc<OwnedFd>,
    /// Their ids.
    pub ids: Arc<BTreeSet<u64>>,
}

impl MountsWithin {
    /// Does something among them, if there are any.
    pub fn among<T>(own: Option<&Self>, work: impl FnOnce() -> T) -> Answer<T> {
        match own {
            None => Ok(work()),
            Some(own) => among::among(&own.namespace, work),
        }
    }

    /// What is said where that cannot be done.
    pub fn unseen(errno: Errno) -> Problem {
        let what = phrase!("the mounts of a part of the group cannot be looked at: {why}", why = errno.desc());
        Problem::blocks(ProblemKind::Namespace, what).way_out(phrase!("Run Dormouse as root"))
    }
}

impl FileFacts {
    /// Does something where its name leads to it.
    pub fn among_its_mounts<T>(&self, work: impl FnOnce() -> T) -> Answer<T> {
        MountsWithin::among(self.mounts.as_ref(), work)
    }
}
