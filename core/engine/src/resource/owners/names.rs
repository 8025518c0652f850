//! What users and groups were called when the group was frozen: the section `Owners`.

use std::collections::{BTreeMap, BTreeSet};

use dormouse_wire::Pid;
use nix::unistd::{Gid, Group as UserGroup, Uid, User};
use serde::{Deserialize, Serialize};

use crate::kernel::outside;
use crate::proc;
use crate::proc::status;
use crate::resource::group::{Group, Life};
use crate::resource::namespace::Namespaces;

/// The users and groups that the records speak of, by their numbers, with the names that they had, if they had any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Users, passwd(5).
    pub users: BTreeMap<u32, Option<String>>,
    /// Groups, group(5).
    pub groups: BTreeMap<u32, Option<String>>,
}

/// What this system calls its users and groups, as it is found without waiting for anybody: while a group stands still, a service that
/// knows them may be one of it.
#[derive(Clone, Debug, Default)]
pub struct Known {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl Known {
    /// What /etc/passwd and /etc/group of the outside say, and of those that these processes are what services such as sssd or
    /// systemd-homed know: they are asked now, nsswitch.conf(5). In a sandbox none are, for its own would answer.
    pub fn now(members: &[Pid]) -> Self {
        let file = |path: &str| outside::text(path).map(|text| lines(&text)).unwrap_or_default();
        let mut known = Self { users: file("/etc/passwd"), groups: file("/etc/group") };
        if outside::known().is_none() {
            let mut names = Names::default();
            for status in members.iter().filter_map(|pid| proc::parsed(*pid, "status", status::parse).ok()) {
                names.users.extend(ids(&status.uid).map(|id| (id, None)));
                names.groups.extend(ids(&status.gid).chain(status.groups.iter().copied()).map(|id| (id, None)));
            }
            let user = |id: u32| User::from_uid(Uid::from_raw(id)).ok().flatten().map(|user| user.name);
            let group = |id: u32| UserGroup::from_gid(Gid::from_raw(id)).ok().flatten().map(|group| group.name);
            add(&mut known.users, names.users.into_keys(), user);
            add(&mut known.groups, names.groups.into_keys(), group);
        }
        known
    }
}

fn ids(ids: &status::Ids) -> impl Iterator<Item = u32> {
    [ids.real, ids.effective, ids.saved, ids.filesystem].into_iter()
}

fn add(known: &mut BTreeMap<u32, String>, ids: impl Iterator<Item = u32>, name: impl Fn(u32) -> Option<String>) {
    for id in ids {
        if !known.contains_key(&id) {
            known.extend(name(id).map(|name| (id, name)));
        }
    }
}

/// Lines of passwd(5) or group(5): a name, a password, a number. Of two with one number the first counts.
fn lines(text: &str) -> BTreeMap<u32, String> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(id)) = (fields.next(), fields.nth(1).and_then(|id| id.parse().ok()))
            && !name.is_empty()
        {
            found.entry(id).or_insert_with(|| name.to_owned());
        }
    }
    found
}

impl Names {
    /// Those of a group: of whoever runs in it, and of whom what it holds belongs to; `others`: owners of what it has open.
    pub fn of(
        group: &Group,
        namespaces: Option<&Namespaces>,
        others: impl Iterator<Item = (u32, u32)>,
        known: &Known,
    ) -> Self {
        let (mut users, mut groups): (BTreeSet<u32>, BTreeSet<u32>) = others.unzip();
        for process in &group.processes {
            let all: Vec<_> = match &process.life {
                Life::Alive(alive) => alive.threads.iter().map(|thread| &thread.credentials).collect(),
                Life::Zombie(zombie) => vec![&zombie.credentials],
            };
            for credentials in all {
                users.extend(credentials.users);
                groups.extend(credentials.groups.iter().chain(&credentials.supplementary));
            }
        }
        let segments = group.segments.iter().flat_map(|segment| [segment.owner, segment.creator]);
        let objects =
            group.semaphores.iter().map(|set| &set.known).chain(group.queues.iter().map(|queue| &queue.known));
        let objects = objects.flat_map(|known| [known.owner, known.creator]);
        let filesystems = namespaces.map_or(&[][..], |namespaces| &namespaces.mounts.filesystems);
        let trees = filesystems.iter().chain(&group.mounted).flat_map(|filesystem| &filesystem.trees);
        let entries = trees.flat_map(|tree| &tree.entries).map(|entry| entry.owner);
        let contents = group.contents.iter().map(|content| content.owner);
        for (user, group) in segments.chain(objects).chain(entries).chain(contents) {
            users.insert(user);
            groups.insert(group);
        }
        let inner = group.inner.iter().filter_map(|inner| inner.users.as_ref());
        for namespace in namespaces.iter().flat_map(|namespaces| &namespaces.users).chain(inner) {
            users.insert(namespace.maker);
            // Ranges are for nobody that has a name.
            users.extend(namespace.users.iter().filter(|(.., count)| *count == 1).map(|(_, outer, _)| *outer));
            groups.extend(namespace.groups.iter().filter(|(.., count)| *count == 1).map(|(_, outer, _)| *outer));
        }
        let named = |ids: BTreeSet<u32>, known: &BTreeMap<u32, String>| {
            ids.into_iter().map(|id| (id, known.get(&id).cloned())).collect()
        };
        Self { users: named(users, &known.users), groups: named(groups, &known.groups) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_a_number_counts_and_odd_lines_do_not() {
        let found = lines(
            "root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\n\nodd\n:x:7:\nanna:x:1000:1000::/:\nx:y:-1\n+::::::\n",
        );
        let found: Vec<_> = found.iter().map(|(id, name)| (*id, name.as_str())).collect();
        assert_eq!(found, [(0, "root"), (1000, "anna")]);
    }

    #[test]
    fn this_process_is_known_by_the_names_of_its_user() {
        let known = Known::now(&[Pid(std::process::id() as i32)]);
        let own = Uid::effective();
        let name = User::from_uid(own).ok().flatten().map(|user| user.name);
        assert_eq!(known.users.get(&own.as_raw()), name.as_ref());
    }
}
