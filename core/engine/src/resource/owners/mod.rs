//! Users and groups, which the records know by their numbers. Another machine may know the same people by others: what the records say is
//! led to those once, right after they have been read; each record knows which of its fields are such numbers. What the programs have in
//! their memory stays as it is.

mod attributes;
mod misfits;
mod names;

use std::collections::{BTreeMap, BTreeSet};

use serde_bytes::ByteBuf;

pub use names::{Known, Names, OVERFLOW};

use super::fd::OpenFile;
use super::group::{Group, Life};
use super::namespace::Namespaces;
use super::namespace::mount::Filesystem;
use super::namespace::settings;
use super::namespace::user::{self, Extent, MOST, UserNamespace};
use super::task::signals;

/// Who here takes the place of whom: numbers of users, and of groups. Whoever is not in it keeps his number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    /// Users.
    pub users: BTreeMap<u32, u32>,
    /// Groups.
    pub groups: BTreeMap<u32, u32>,
}

impl Owners {
    /// Whether everybody keeps his number.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// Leads all that a group, and the namespaces it had for itself, say of users and groups outside of these.
    pub fn lead(&self, group: &mut Group, namespaces: Option<&mut Namespaces>) {
        if self.is_empty() {
            return;
        }
        let mut walk = Walk::leading(self);
        walk.over(group, namespaces);
        for file in &mut group.open_files {
            walk.file(file);
        }
    }
}

/// Goes over the numbers of users and groups in records: leads them, and notes which there are.
#[derive(Debug, Default)]
pub struct Walk<'a> {
    owners: Option<&'a Owners>,
    /// The whole group lives in a user namespace of its own.
    is_inside: bool,
    /// The users that it has come by.
    pub users: BTreeSet<u32>,
    /// The groups.
    pub groups: BTreeSet<u32>,
}

impl<'a> Walk<'a> {
    /// Leads as these say.
    pub fn leading(owners: &'a Owners) -> Self {
        Self { owners: Some(owners), ..Self::default() }
    }

    /// Whether it only notes.
    pub fn only_notes(&self) -> bool {
        self.owners.is_none()
    }

    /// A user.
    pub fn user(&mut self, id: &mut u32) {
        self.users.insert(*id);
        if let Some(owners) = self.owners {
            lead(&owners.users, id);
        }
    }

    /// A group.
    pub fn group(&mut self, id: &mut u32) {
        self.groups.insert(*id);
        if let Some(owners) = self.owners {
            lead(&owners.groups, id);
        }
    }

    /// Some groups.
    pub fn groups(&mut self, ids: &mut [u32]) {
        for id in ids {
            self.group(id);
        }
    }

    /// The user and the group that something belongs to.
    pub fn both(&mut self, (user, group): &mut (u32, u32)) {
        self.user(user);
        self.group(group);
    }

    /// All that is no open file.
    pub fn over(&mut self, group: &mut Group, namespaces: Option<&mut Namespaces>) {
        self.is_inside = namespaces.as_ref().map_or_else(|| user::made().is_some(), |own| !own.users.is_empty());
        if let Some(namespaces) = namespaces {
            namespaces.settings.iter_mut().for_each(|setting| settings::lead(setting, self));
            namespaces.users.iter_mut().for_each(|one| self.namespace(one));
            namespaces.mounts.filesystems.iter_mut().for_each(|filesystem| self.filesystem(filesystem));
        }
        self.processes(group);
        group.inner.iter_mut().flat_map(|inner| &mut inner.settings).for_each(|setting| settings::lead(setting, self));
        group.inner.iter_mut().filter_map(|inner| inner.users.as_mut()).for_each(|one| self.namespace(one));
        group.mounted.iter_mut().for_each(|filesystem| self.filesystem(filesystem));
        group.mapped_files.iter_mut().for_each(|file| file.owner.led(self));
        group.contents.iter_mut().for_each(|content| content.led(self));
        for segment in &mut group.segments {
            self.both(&mut segment.owner);
            self.both(&mut segment.creator);
        }
        let objects = group.semaphores.iter_mut().map(|set| &mut set.known);
        for known in objects.chain(group.queues.iter_mut().map(|queue| &mut queue.known)) {
            self.both(&mut known.owner);
            self.both(&mut known.creator);
        }
    }

    /// An open file.
    pub fn file(&mut self, file: &mut OpenFile) {
        // A kind that is not known is told by the preflight.
        if let Ok(kind) = super::fd::kind_named(file) {
            kind.led(file, self);
        }
    }

    fn processes(&mut self, group: &mut Group) {
        for process in &mut group.processes {
            let all: Vec<_> = match &mut process.life {
                Life::Alive(alive) => alive.threads.iter_mut().map(|thread| &mut thread.credentials).collect(),
                Life::Zombie(zombie) => vec![&mut zombie.credentials],
            };
            for credentials in all {
                credentials.users.iter_mut().for_each(|id| self.user(id));
                self.groups(&mut credentials.groups);
                self.groups(&mut credentials.supplementary);
            }
            // To whoever lives in a user namespace, a signal says what its sender is called in there.
            if let (Life::Alive(alive), None, false) = (&mut process.life, process.place.user, self.is_inside) {
                let of_threads = alive.threads.iter_mut().flat_map(|thread| &mut thread.signals.pending);
                alive.pending.iter_mut().chain(of_threads).for_each(|info| signals::lead_sender(info, self));
            }
        }
    }

    fn namespace(&mut self, namespace: &mut UserNamespace) {
        self.user(&mut namespace.maker);
        // Ranges are for nobody that has a name.
        let one = |extents: &[Extent]| {
            extents.iter().filter(|(.., count)| *count == 1).map(|(_, outer, _)| *outer).collect::<Vec<_>>()
        };
        self.users.extend(one(&namespace.users));
        self.groups.extend(one(&namespace.groups));
        if let Some(owners) = self.owners {
            extents(&owners.users, &mut namespace.users);
            extents(&owners.groups, &mut namespace.groups);
        }
    }

    /// What is in it, and whom its root belongs to by its options, as tmpfs(5) and devpts take them.
    fn filesystem(&mut self, filesystem: &mut Filesystem) {
        for (key, value) in &mut filesystem.options {
            let id = value.as_ref().and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
            let Some(before) = id else { continue };
            let mut id: u32 = before;
            match key.as_slice() {
                b"uid" => self.user(&mut id),
                b"gid" => self.group(&mut id),
                _ => continue,
            }
            if id != before {
                *value = Some(ByteBuf::from(id.to_string()));
            }
        }
        for entry in filesystem.trees.iter_mut().flat_map(|tree| &mut tree.entries) {
            self.both(&mut entry.owner);
            entry.attributes.iter_mut().for_each(|(name, value)| attributes::lead(self, name, value));
        }
    }
}

fn lead(ids: &BTreeMap<u32, u32>, id: &mut u32) {
    if let Some(new) = ids.get(id) {
        *id = *new;
    }
}

/// Leads where a map of a user namespace leads to: a range in which only some have other numbers falls apart. What cannot be a map stays as
/// it is, and what has become none is found when maps are looked at.
fn extents(ids: &BTreeMap<u32, u32>, extents: &mut Vec<Extent>) {
    // More lines than a map has are refused, and so is what has become more.
    if extents.len() > MOST {
        return;
    }
    let mut led = Vec::with_capacity(extents.len());
    for (inner, outer, count) in extents.iter().copied() {
        let (Some(end), Some(_)) = (outer.checked_add(count), inner.checked_add(count)) else {
            led.push((inner, outer, count));
            continue;
        };
        let mut at = outer;
        for (old, new) in ids.range(outer..end).filter(|(old, new)| old != new) {
            led.extend((*old > at).then_some((inner + (at - outer), at, old - at)));
            led.push((inner + (old - outer), *new, 1));
            if led.len() > MOST {
                *extents = led;
                return;
            }
            at = old + 1;
        }
        led.extend((end > at || count == 0).then_some((inner + (at - outer), at, end - at)));
    }
    *extents = led;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_known_by_another_number_gets_it_and_all_others_keep_theirs() {
        let owners = Owners { users: [(1000, 1001)].into(), groups: [(1000, 100), (27, 998)].into() };
        let mut one = (1000, 1000);
        let mut walk = Walk::leading(&owners);
        walk.both(&mut one);
        let mut groups = [1000, 27, 44];
        walk.groups(&mut groups);
        assert_eq!((walk.users, walk.groups), ([1000].into(), [27, 44, 1000].into()));
        assert_eq!((one, groups), ((1001, 100), [100, 998, 44]));
        assert!(Owners::default().is_empty() && !owners.is_empty());
    }

    #[test]
    fn a_range_falls_apart_where_somebody_in_it_has_another_number() {
        let led = |ids: &[(u32, u32)], one: Extent| {
            let mut all = vec![one];
            extents(&ids.iter().copied().collect(), &mut all);
            all
        };
        assert_eq!(led(&[(1000, 1001)], (0, 1000, 1)), [(0, 1001, 1)]);
        assert_eq!(led(&[(1000, 5)], (0, 998, 5)), [(0, 998, 2), (2, 5, 1), (3, 1001, 2)]);
        assert_eq!(led(&[(998, 5), (1002, 6)], (0, 998, 5)), [(0, 5, 1), (1, 999, 3), (4, 6, 1)]);
        assert_eq!(led(&[(1000, 1000), (7, 8)], (0, 998, 5)), [(0, 998, 5)]);
        assert_eq!(led(&[(1000, 1)], (0, 100_000, 65_536)), [(0, 100_000, 65_536)]);
        // What no map can be is for others to refuse.
        assert_eq!(led(&[(1000, 1)], (0, 900, u32::MAX)), [(0, 900, u32::MAX)]);
        assert_eq!(led(&[(1000, 1)], (u32::MAX, 900, 200)), [(u32::MAX, 900, 200)]);
        assert_eq!(led(&[(1000, 1)], (0, 1000, 0)), [(0, 1000, 0)]);
    }
}
