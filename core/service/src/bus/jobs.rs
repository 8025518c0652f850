//! The jobs that run or have ended lately.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use dormouse_wire::dbus::JOBS;
use zbus::zvariant::{ObjectPath, OwnedObjectPath};

use super::Error;

/// So many jobs of one user are remembered.
const MOST: usize = 32;

/// All jobs, by number, each with its user.
#[derive(Debug, Default)]
pub struct Jobs {
    last: AtomicU64,
    users: Mutex<BTreeMap<u64, u32>>,
}

impl Jobs {
    /// A place for a new one; none where the user has too many.
    pub fn add(&self, user: u32) -> Result<(u64, OwnedObjectPath), Error> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if users.values().filter(|owner| **owner == user).count() >= MOST {
            let what = format!("You have {MOST} jobs that run or have just ended; try again in a minute.");
            return Err(Error::Busy(what));
        }
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        users.insert(number, user);
        Ok((number, path(number)))
    }

    /// It is no longer remembered.
    pub fn forget(&self, number: u64) {
        self.users.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    /// Those of a user.
    pub fn of(&self, user: u32) -> Vec<OwnedObjectPath> {
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.iter().filter(|(_, owner)| **owner == user).map(|(number, _)| path(*number)).collect()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

fn path(number: u64) -> OwnedObjectPath {
    // Digits and the constant are always a valid path.
    ObjectPath::from_string_unchecked(format!("{JOBS}/{number}")).into()
}
