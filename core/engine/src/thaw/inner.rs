//! Namespaces that only some members live in, made before any process is there: each by whoever had made it. Those for pids are made by the
//! birth of their first processes; see `thaw/birth.rs`.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};

use super::control_groups::Places;
use super::inner_mounts::{self, MountsMade};
use crate::image::Reader;
use crate::kernel::among::among;
use crate::kernel::inner_namespaces::{Maid, Maker};
use crate::kernel::{Answer, Errno, namespaces};
use crate::resource::group::{Group, Life, Process};
use crate::resource::namespace::inner::{self, Inner};
use crate::resource::namespace::limits;
use crate::resource::namespace::names::Names;
use crate::resource::namespace::network::Loopback;
use crate::resource::namespace::settings;
use crate::resource::namespace::user::{self, Made, UserNamespace};
use crate::resource::task::credentials::{Credentials, Privileges};
use crate::{Asker, ThawOptions};

/// Those that have been made.
#[derive(Debug, Default)]
pub struct InnerMade {
    /// By their places in the list; none for pids.
    made: Vec<Option<OwnedFd>>,
    /// The supplementary groups that all have who live in a user namespace, if they have the same.
    groups: Vec<Option<Vec<u32>>>,
    /// Those for mounts.
    mounts: MountsMade,
    /// What was lost.
    pub losses: Vec<Problem>,
}

/// Whether an image may make any, and whether what it says of them can be.
pub fn preflight(group: &Group, reader: &Reader, asker: Option<&Asker>) -> Vec<Problem> {
    if group.inner.is_empty() {
        return Vec::new();
    }
    let path = reader.path().display().to_string();
    let refuse = |what: Phrase, way_out: Phrase| {
        vec![Problem::blocks(ProblemKind::Privilege, what).at(path.clone()).way_out(way_out)]
    };
    if asker.is_some_and(|asker| asker.user != 0) {
        let what = phrase!("parts of the group had namespaces of their own, which only root can make again");
        return refuse(what, phrase!("An administrator can do it"));
    }
    if !crate::pid_namespace::can_be_made() {
        let what = phrase!("parts of the group had namespaces of their own, which Dormouse may not make here");
        return refuse(what, phrase!("Run Dormouse as root"));
    }
    match reader.metadata() {
        Ok(found) if found.uid() == 0 => [inner::preflight(group), inner_mounts::preflight(group)].concat(),
        Ok(found) => {
            let what = phrase!("it belongs to user {uid}, and holds namespaces of users", uid = found.uid());
            refuse(what, phrase!("If you trust whoever made it, make it your own: chown root:root {path}", path))
        }
        Err(error) => {
            let what = phrase!("whose it is cannot be told: {why}", why = error);
            refuse(what, phrase!("Copy it to another disk"))
        }
    }
}

/// Makes them.
pub fn make(group: &Group, reader: &Reader, options: &ThawOptions) -> Result<InnerMade, Problem> {
    let mut all = InnerMade::default();
    for (index, inner) in group.inner.iter().enumerate() {
        let inhabitants = || group.processes.iter().filter(|process| process.place.user == Some(index));
        let groups = (inner.kind == "user").then(|| user::common_groups(inhabitants().flat_map(credentials))).flatten();
        let made = if matches!(inner.kind.as_str(), "cgroup" | "mnt" | "pid") {
            None
        } else {
            let groups = groups.as_deref().unwrap_or_default();
            Some(all.one(inner, group, groups).map_err(|errno| inner::unmade(&inner.kind, errno))?)
        };
        all.groups.push(groups);
        if let Some(namespace) = &made {
            let filled = fill(inner, namespace).map_err(|errno| inner::unmade(&inner.kind, errno))?;
            all.losses.extend(filled?);
        }
        all.made.push(made);
    }
    all.mounts = inner_mounts::make(group, (reader, options), &all)?;
    for (index, namespace) in std::mem::take(&mut all.mounts.namespaces) {
        all.made[index] = Some(namespace);
    }
    Ok(all)
}

fn credentials(process: &Process) -> Vec<&Credentials> {
    match &process.life {
        Life::Alive(alive) => alive.threads.iter().map(|thread| &thread.credentials).collect(),
        Life::Zombie(zombie) => vec![&zombie.credentials],
    }
}

impl InnerMade {
    fn one(&self, inner: &Inner, group: &Group, groups: &[u32]) -> Answer<OwnedFd> {
        let usual = user::made().and_then(Made::home);
        let within = inner.owner.map_or_else(|| usual.map(|(_, home)| home), |owner| self.namespace(owner));
        let Some(users) = &inner.users else {
            return Maid::make(&inner.kind, within, None)?.open(&inner.kind);
        };
        let owner = inner.owner.and_then(|owner| group.inner.get(owner)?.users.as_ref());
        let around = inner.owner.map_or_else(|| usual.map(|(users, _)| users), |_| owner);
        let who: Maker<'_> = (users.maker, first_group(users), groups);
        let maid = Maid::make("user", within, Some(who))?;
        let lines = |own: &[user::Extent], around: Option<&Vec<user::Extent>>| {
            user::lines(own, around.map(Vec::as_slice)).ok_or(Errno::EINVAL)
        };
        let outer_users = lines(&users.users, around.map(|around| &around.users))?;
        let outer_groups = lines(&users.groups, around.map(|around| &around.groups))?;
        maid.write_maps(within, &outer_users, &outer_groups, users.may_set_groups)?;
        maid.open("user")
    }

    /// Sets what may be made in user namespaces, those of the whole group too, when all is; answers what could not be.
    pub fn limit(&self, group: &Group) -> Vec<Problem> {
        let users =
            group.inner.iter().zip(&self.made).filter_map(|(inner, made)| inner.users.as_ref().zip(made.as_ref()));
        let own = users.filter_map(|(record, made)| limits::restore(&record.limits, made));
        own.chain(user::made().into_iter().flat_map(Made::limit)).collect()
    }

    /// Makes those of control groups, each with its roots.
    pub fn root(&mut self, group: &Group, places: &mut Places) -> Result<(), Problem> {
        for (index, inner) in group.inner.iter().enumerate().filter(|(_, inner)| inner.kind == "cgroup") {
            let usual = user::made().and_then(Made::home).map(|(_, home)| home);
            let within = inner.owner.map_or(usual, |owner| self.namespace(owner));
            let maid = Maid::rooted(within, |maid| places.send(group, &inner.roots, maid));
            let made = maid.and_then(|maid| maid.open(&inner.kind));
            self.made[index] = Some(made.map_err(|errno| inner::unmade(&inner.kind, errno))?);
        }
        Ok(())
    }

    /// The one at this place in the list.
    pub fn namespace(&self, index: usize) -> Option<&OwnedFd> {
        self.made.get(index)?.as_ref()
    }

    /// Does something among the mounts at this place in the list; none: those of the engine.
    pub fn among<T>(&self, mounts: Option<usize>, work: impl FnOnce() -> T) -> Result<T, Problem> {
        match mounts.and_then(|index| self.namespace(index)) {
            None => Ok(work()),
            Some(namespace) => among(namespace, work).map_err(|errno| inner::unmade("mnt", errno)),
        }
    }

    /// Somebody lives in each pid namespace: puts what shows them in its place among the mounts.
    pub fn show(&self, group: &Group, procs: &BTreeMap<usize, OwnedFd>) -> Result<(), Problem> {
        self.mounts.complete(group, self, procs)
    }

    /// All of them, by their places in the list; none for pids.
    pub fn namespaces(&self) -> &[Option<OwnedFd>] {
        &self.made
    }

    /// The supplementary groups with which one goes into a user namespace.
    pub fn groups(&self, user: usize) -> &[u32] {
        self.groups.get(user).and_then(Option::as_deref).unwrap_or_default()
    }

    /// What the credentials of somebody are called in a user namespace, and what he has to begin with there.
    pub fn given(
        &self,
        group: &Group,
        user: usize,
        outside: &Credentials,
    ) -> Result<(Credentials, Privileges), Phrase> {
        let Some(home) = group.inner.get(user).and_then(|inner| inner.users.as_ref()) else {
            return Ok((outside.clone(), Privileges::own()));
        };
        let mut inner = home.translate(outside)?;
        let shared = self.groups.get(user).is_some_and(Option::is_some);
        if !shared {
            inner.supplementary = home.translate_groups(&outside.supplementary)?;
        }
        Ok((inner, Privileges::whole(!shared)))
    }
}

/// Makes what is in one what it was.
fn fill(inner: &Inner, namespace: &OwnedFd) -> Answer<Result<Vec<Problem>, Problem>> {
    if inner.kind == "user" {
        return Ok(Ok(Vec::new()));
    }
    namespaces::visit(namespace, &inner.kind, || {
        inner.loopback.map_or(Ok(()), Loopback::restore)?;
        inner.names.as_ref().map_or(Ok(()), Names::restore)?;
        Ok(settings::restore(&inner.settings))
    })
}

/// Of groups nothing is known but that it was one that the namespace around it knows: the first one that has a name in it.
pub fn first_group(users: &UserNamespace) -> u32 {
    users.groups.first().map_or(0, |(_, outside, _)| *outside)
}
