//! What users and groups were called when the group was frozen: the section `Owners`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use dormouse_wire::Pid;
use nix::unistd::{Gid, Group as UserGroup, Uid, User};
use serde::{Deserialize, Serialize};

use super::Walk;
use crate::kernel::{files, outside};
use crate::proc;
use crate::proc::status;
use crate::resource::fd::regular;
use crate::resource::group::Group;
use crate::resource::named_file::Owner;
use crate::resource::namespace::Namespaces;

/// The users and groups that the records speak of, by their numbers, with the names that they had, if they had any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Users, passwd(5).
    pub users: BTreeMap<u32, Option<String>>,
    /// Groups, group(5).
    pub groups: BTreeMap<u32, Option<String>>,
}

/// Nobody in particular, and his group: whoever a user namespace has no name for, user_namespaces(7). Systems call them by different names.
pub const OVERFLOW: u32 = 65_534;
/// So much of a file of users is looked at, bytes.
const MOST: u64 = 1 << 20;

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
pub(super) fn lines(text: &str) -> BTreeMap<u32, String> {
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
    /// Those of a group: of whoever runs in it, and of whom belongs to what a thaw makes anew. `opened`: with whose rights each file is open.
    pub fn of<'a>(
        group: &mut Group,
        namespaces: Option<&mut Namespaces>,
        opened: impl Iterator<Item = &'a Owner>,
        known: &Known,
    ) -> Self {
        let has_own_users = namespaces.as_ref().is_some_and(|namespaces| !namespaces.users.is_empty());
        let mut walk = Walk::default();
        walk.over(group, namespaces);
        for (file, owner) in group.open_files.iter_mut().zip(opened) {
            // Of most files, the record says no more than this.
            if file.kind == regular::KIND { owner.clone().led(&mut walk) } else { walk.file(file) }
        }
        let (none, is_foreign) = (Known::default(), !has_own_users && is_elsewhere());
        let known = if is_foreign { &none } else { known };
        let named = |ids: BTreeSet<u32>, known: &BTreeMap<u32, String>| {
            let name = |id: &u32| known.get(id).filter(|_| *id != OVERFLOW).cloned();
            ids.into_iter().map(|id| (id, name(&id))).collect()
        };
        Self { users: named(walk.users, &known.users), groups: named(walk.groups, &known.groups) }
    }
}

/// Whether this process has gone to where others are known: a container without users of its own has its own /etc/passwd, by which its numbers
/// are meant.
fn is_elsewhere() -> bool {
    const PASSWD: &str = "/etc/passwd";
    let Some(outside) = outside::known() else { return false };
    let there = outside.open(Path::new(PASSWD), libc::O_RDONLY);
    let Ok(here) = files::open(Path::new(PASSWD), libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY) else {
        return true;
    };
    let (Ok(there), Ok(found)) = (there, files::stat(&here)) else { return true };
    if files::stat(&there).is_ok_and(|there| (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino)) {
        return false;
    }
    let text = |file: OwnedFd| {
        let mut text = Vec::new();
        File::from(file).take(MOST).read_to_end(&mut text).map(|_| text).ok()
    };
    found.st_mode & libc::S_IFMT != libc::S_IFREG || text(here) != text(there)
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
