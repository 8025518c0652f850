//! What sets of semaphores and message queues have in common.

// zoo: no kind

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};

use crate::kernel::system_v::Object;
use crate::kernel::{Answer, Errno};

/// By what an object is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its id.
    pub id: i32,
    /// Its key; 0: none (IPC_PRIVATE).
    pub key: i32,
    /// Its permissions.
    pub mode: u32,
    /// User and group it belongs to.
    pub owner: (u32, u32),
    /// User and group that made it.
    pub creator: (u32, u32),
}

/// What is there, and whether it can be the one of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct There {
    /// By what it is known.
    pub known: Known,
    /// Of so many semaphores; of a queue 0.
    pub count: usize,
}

impl There {
    /// A line of `/proc/sysvipc`: key, id and permissions, and from `ids` on owner and creator.
    pub fn of_line(line: &[u64], count: usize, ids: usize) -> Option<Self> {
        let number = |place: usize| line.get(place).map(|number| *number as u32);
        let mode = u32::from_str_radix(&line.get(2)?.to_string(), 8).ok()?;
        let known = Known {
            id: number(1)? as i32,
            key: number(0)? as i32,
            mode: mode & 0o777,
            owner: (number(ids)?, number(ids + 1)?),
            creator: (number(ids + 2)?, number(ids + 3)?),
        };
        Some(Self { known, count })
    }
}

impl Known {
    /// Whether it can be at all.
    pub fn is_possible(&self) -> bool {
        self.id >= 0 && self.mode & !0o777 == 0
    }

    /// For a person.
    pub fn shown(&self, object: Object) -> Phrase {
        match object {
            Object::Semaphores => phrase!("System V semaphores {id}", id = self.id),
            Object::Queue => phrase!("System V message queue {id}", id = self.id),
        }
    }

    fn is(&self, count: usize, there: &There) -> bool {
        let other = &there.known;
        (other.id, other.key, other.creator, there.count) == (self.id, self.key, self.creator, count)
            && !self.is_begun(count, there)
    }

    /// Whether this is what a thaw that was killed has begun to make of it: nobody has a right to it yet.
    fn is_begun(&self, count: usize, there: &There) -> bool {
        let other = &there.known;
        (other.id, other.creator, there.count, other.mode) == (self.id, self.creator, count, 0) && self.mode != 0
    }

    /// What stands in the way of it, when these are there.
    pub fn preflight(&self, object: Object, count: usize, there: &[There]) -> Option<Problem> {
        let remove = if object == Object::Semaphores { "ipcrm -s" } else { "ipcrm -q" };
        let refuse = |what: Phrase, other: i32| {
            let problem = Problem::blocks(ProblemKind::Process, what).at(self.shown(object));
            Some(problem.way_out(phrase!("End who uses that one, or remove it ({remove} {other})", remove, other)))
        };
        if let Some(found) = there.iter().find(|found| found.known.id == self.id) {
            let fits = self.is(count, found) || self.is_begun(count, found);
            return if fits { None } else { refuse(phrase!("another one has its id now"), found.known.id) };
        }
        let found = there.iter().find(|found| self.key != 0 && found.known.key == self.key)?;
        refuse(
            phrase!("its key {key} belongs to another one now", key = format_args!("{:#x}", self.key)),
            found.known.id,
        )
    }
}

/// An object that the thaw has found or made. Dropped before it is [kept](Self::keep), it goes, if the thaw has made it.
#[derive(Debug)]
pub struct Made {
    object: Object,
    id: i32,
    is_new: bool,
}

impl Made {
    /// Finds an object or makes it, and lets `fill` give a new one its content; nobody has a right to it before.
    pub fn find_or_make(
        object: Object,
        known: &Known,
        count: usize,
        there: &[There],
        fill: impl FnOnce() -> Answer<()>,
    ) -> Result<Self, Problem> {
        let failed = |errno: Errno| {
            let (kind, way_out) = match errno {
                Errno::ENOSPC | Errno::ENOMEM | Errno::EAGAIN | Errno::EINVAL => (
                    ProblemKind::Space,
                    phrase!("Raise kernel.sem, kernel.msgmni, kernel.msgmnb or kernel.msgmax (sysctl)"),
                ),
                _ => (ProblemKind::Process, phrase!("Try again")),
            };
            let what = phrase!("it cannot be made again: {why}", why = errno.desc());
            Problem::blocks(kind, what).at(known.shown(object)).way_out(way_out)
        };
        if there.iter().any(|found| known.is(count, found)) {
            return Ok(Self { object, id: known.id, is_new: false });
        }
        if there.iter().any(|found| known.is_begun(count, found)) {
            object.remove(known.id).map_err(failed)?;
        }
        make(object, known, count).map_err(failed)?;
        let made = Self { object, id: known.id, is_new: true };
        fill().map_err(failed)?;
        Ok(made)
    }

    /// Whether the thaw has made it.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The group runs: it stays.
    pub fn keep(mut self) {
        self.is_new = false;
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.is_new
            && let Err(error) = self.object.remove(self.id)
        {
            tracing::error!(%error, id = self.id, "an object of System V stays in the system");
        }
    }
}

/// Makes an object under its id. Others may make some at the same time: then it is tried again.
fn make(object: Object, known: &Known, count: usize) -> Answer<()> {
    const TRIES: usize = 20;
    for _ in 0..TRIES {
        let chosen = object.choose_id(known.id);
        chosen.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
        let made = object.make(known.key, count, known.creator)?;
        if made == known.id {
            return Ok(());
        }
        object.remove(made)?;
    }
    Err(Errno::EBUSY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_known_by_id_key_creator_and_size() {
        let line = [42, 7, 640, 2, 1000, 1001, 1002, 1003];
        let there = There::of_line(&line, 2, 4);
        let known = Known { id: 7, key: 42, mode: 0o640, owner: (1000, 1001), creator: (1002, 1003) };
        assert_eq!(there, Some(There { known, count: 2 }));
        let refused = |known: Known, count| known.preflight(Object::Semaphores, count, there.as_slice()).is_some();
        assert!(!refused(known, 2) && refused(known, 3));
        assert!(refused(Known { key: 43, ..known }, 2) && refused(Known { creator: (0, 0), ..known }, 2));
        assert!(refused(Known { id: 8, ..known }, 2) && !refused(Known { id: 8, key: 0, ..known }, 2));
    }
}
