//! Sets of semaphores, semget(2).
//!
//! What the processes of the group would undo at their end (SEM_UNDO, semop(2)) is undone when the freeze ends them, and the
//! thaw does as if it had not been: where the last who changed a value was a member at its end, it is set to what it was.
//! From then on nothing is undone any more, for the kernel does not tell who would undo what.

// zoo: semaphores semaphores_undone system_v_objects

use std::collections::BTreeSet;

use dormouse_wire::Pid;
use serde::{Deserialize, Serialize};

use super::{Known, Made, There};
use crate::kernel::system_v::{self, Object};
use crate::kernel::{Answer, outside};
use crate::proc::system_v::table;

/// A set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// By what it is known.
    pub known: Known,
    /// The values of its semaphores.
    pub values: Vec<u16>,
}

/// So many semaphores a set can have: SEMMSL of semget(2), as far as it can be raised.
pub const MOST: usize = 1 << 16;

/// The sets of this ipc namespace that may be looked at.
pub fn there() -> Vec<There> {
    // Key, id, permissions, number, four ids, two times.
    table("sem").iter().filter_map(|line| There::of_line(line, *line.get(3)? as usize, 4)).collect()
}

/// Those that members were the last to use; all of an ipc namespace that is theirs alone.
pub fn capture(members: &BTreeSet<Pid>) -> Answer<Vec<Set>> {
    let mut sets = Vec::new();
    for found in there() {
        let last = |semaphore: usize| system_v::last_user(found.known.id, semaphore as i32);
        if found.count <= MOST
            && (outside::has_own("ipc")
                || (0..found.count).any(|semaphore| last(semaphore).is_ok_and(|pid| members.contains(&pid))))
        {
            sets.push(Set { known: found.known, values: system_v::values(found.known.id, found.count)? });
        }
    }
    Ok(sets)
}

impl Set {
    /// Finds it or makes it, for these members.
    pub fn restore(&self, there: &[There], members: &BTreeSet<Pid>) -> Result<Made, dormouse_wire::Problem> {
        let Known { id, owner, mode, .. } = self.known;
        let fill = || {
            system_v::set_values(id, &self.values)?;
            system_v::give_semaphores(id, owner, mode)
        };
        let made = Made::find_or_make(Object::Semaphores, &self.known, self.values.len(), there, fill)?;
        if !made.is_new() {
            self.take_back(members);
        }
        Ok(made)
    }

    /// Takes back what was undone at the end of members.
    fn take_back(&self, members: &BTreeSet<Pid>) {
        let id = self.known.id;
        let Ok(now) = system_v::values(id, self.values.len()) else { return };
        for (semaphore, (value, now)) in
            self.values.iter().zip(now).enumerate().filter(|(_, (value, now))| **value != *now)
        {
            if system_v::last_user(id, semaphore as i32).is_ok_and(|pid| members.contains(&pid))
                && let Err(error) = system_v::set_value(id, semaphore, *value)
            {
                tracing::warn!(%error, id, semaphore, now, "a semaphore keeps its value");
            }
        }
    }
}
