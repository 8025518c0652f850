//! Who wants to hear of changes.

use std::collections::{BTreeSet, HashMap};
use std::time::SystemTime;

use zbus::names::OwnedUniqueName;

use super::changes::Heard;
use crate::bus::Error;
use crate::bus::caller::Caller;

/// So many connections of one user can watch.
const MOST: usize = 16;

/// The watchers, by connection.
#[derive(Debug, Default)]
pub struct Watchers(pub(super) HashMap<OwnedUniqueName, Watcher>);

/// One of them.
#[derive(Debug)]
pub(super) struct Watcher {
    pub caller: Caller,
    pub heard: Heard,
    /// When the folder of images was last changed, as far as the watcher knows.
    pub images: Option<SystemTime>,
}

impl Watchers {
    /// One more. Who watches already hears everything anew.
    pub fn add(&mut self, caller: Caller) -> Result<(), Error> {
        if self.0.values().filter(|watcher| watcher.caller.user == caller.user).count() >= MOST {
            return Err(Error::Busy(format!("{MOST} connections of yours watch already.")));
        }
        self.0.insert(caller.name.clone(), Watcher { caller, heard: Heard::default(), images: None });
        Ok(())
    }

    /// One less.
    pub fn remove(&mut self, name: &OwnedUniqueName) {
        self.0.remove(name);
    }

    /// The connections of a user.
    pub fn of(&self, user: u32) -> Vec<OwnedUniqueName> {
        self.0
            .values()
            .filter(|watcher| watcher.caller.user == user)
            .map(|watcher| watcher.caller.name.clone())
            .collect()
    }

    /// Whose they are.
    pub(super) fn users(&self) -> BTreeSet<u32> {
        self.0.values().map(|watcher| watcher.caller.user).collect()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
