//! Namespaces that only some members live in: which there are, who lives where, and what of them cannot be given back.

mod content;
mod mounts;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, phrase};

use super::collect::{LivingFacts, NAMESPACES, ProcessFacts};
use super::{select, strangers};
use crate::Asker;
use crate::kernel::kcmp::{Owners, Shared};
use crate::kernel::{Answer, Errno, files, outside, socket, user_namespaces as kernel};
use crate::proc::cgroup::CgroupMembership;
use crate::proc::{self, stat};
use crate::resource::fd::unix::facts::is_unix;
use crate::resource::fd::{FileFacts, FileId, FilesFacts, MountsWithin, OpenFile};
use crate::resource::namespace::inner::{self, Inner, Member, Place};
use crate::resource::namespace::mount::Plan;
use crate::resource::namespace::{member, user};
use crate::resource::task::{credentials, scheduling, timers};

/// The namespaces within a group.
#[derive(Debug, Default)]
pub struct InnerFacts {
    /// Each of them, behind those that it lies in.
    pub all: Vec<Inner>,
    /// Where each process lives.
    pub places: Vec<Place>,
    /// What stands in the way, and what would be lost.
    pub problems: Vec<Problem>,
    /// By kind and inode.
    known: BTreeMap<(&'static str, u64), usize>,
    /// Those for users.
    users: BTreeMap<usize, OwnedFd>,
    /// In which of them sockets are.
    networks: BTreeMap<FileId, usize>,
    /// The roots of those for control groups.
    roots: BTreeMap<usize, Vec<CgroupMembership>>,
    /// What is mounted in those for mounts, and the places of these in the list.
    plan: Plan,
    mounted: Vec<(usize, MountsWithin)>,
    /// In which of them a mount is, by its id.
    mount_ids: BTreeMap<u64, usize>,
}

/// A kind of namespace, and the inode of one.
type Usual = (&'static str, u64);

/// So deep can one user namespace lie in another.
const DEEPEST: usize = 32;

/// The namespaces of the engine, or of the sandbox that it has gone into: whoever lives in others lives further in.
fn usual() -> Vec<Usual> {
    // Of a sandbox that the engine has gone into, the first process lives in all of it.
    let own = if outside::known().is_some() { Pid(1) } else { Pid(std::process::id() as i32) };
    let inode = |name| proc::ns::read(own, name).map_or(0, |link| link.inode);
    NAMESPACES.into_iter().map(|name| (name, inode(name))).collect()
}

/// Looks at those of these processes.
pub fn look(processes: &mut [ProcessFacts]) -> InnerFacts {
    let usual = usual();
    let is_usual = |process: &ProcessFacts| {
        let stays = |living: &LivingFacts| for_children(process, living) == inode_of(living, "pid");
        match &process.living {
            Some(living) => living.namespaces == usual && stays(living),
            None => process.status.namespace_pid.len() < 2,
        }
    };
    if processes.iter().all(is_usual) {
        return InnerFacts { places: vec![Place::default(); processes.len()], ..InnerFacts::default() };
    }
    let mut found = InnerFacts::default();
    let mut doors: BTreeMap<usize, PathBuf> = BTreeMap::new();
    for process in &*processes {
        let place = process.living.as_ref().map(|living| found.place(process, living, &usual, &mut doors));
        found.places.push(place.unwrap_or_default());
    }
    found.bury(processes);
    if found.problems.is_empty() {
        found.lives(processes);
        found.sharers(processes);
        found.guests(processes);
        found.owners(processes);
        for (index, door) in &doors {
            found.content(*index, door, processes);
        }
        found.mounts(processes, &doors);
    }
    found
}

/// What can be done about sandboxes that are in the way.
pub fn way_out() -> Phrase {
    phrase!("Start the program without a sandbox of its own, or pause the group instead")
}

impl InnerFacts {
    /// What stands in the way, and what would be lost.
    pub fn judge(&self, asker: Option<&Asker>) -> Vec<Problem> {
        let mut problems = self.problems.clone();
        if !self.all.is_empty() && asker.is_some_and(|asker| asker.user != 0) {
            let kinds: BTreeSet<&str> = self.all.iter().map(|inner| inner.kind.as_str()).collect();
            let kinds: Vec<&str> = kinds.into_iter().collect();
            let what = phrase!(
                "parts of it are in namespaces of their own ({kinds}), which only root can make again",
                kinds = kinds.join(", ")
            );
            let problem = Problem::blocks(ProblemKind::Privilege, what);
            problems.push(problem.way_out(phrase!("An administrator can do it")));
        }
        problems
    }

    /// Looks for the sockets that are in one of them; and for files that tell processes of I/O which would have other numbers there.
    pub fn sockets(&mut self, files: &FilesFacts) {
        if self.all.is_empty() {
            self.problems.extend(strangers::look(files));
            return;
        }
        let usual = usual().into_iter().find(|(kind, _)| *kind == "net").map(|(_, inode)| inode);
        for file in &files.files {
            if file.file_type() == libc::S_IFSOCK {
                match socket::network(&file.file) {
                    Ok(network) if Some(network) == usual => {}
                    Ok(network) => match self.known.get(&("net", network)) {
                        Some(inner) if is_unix(file) => drop(self.networks.insert(file.id, *inner)),
                        Some(_) => {
                            let what = phrase!(
                                "it is a socket of a network namespace within the group, which cannot be given back yet"
                            );
                            self.problems.push(file.problem(ProblemKind::Socket, what).way_out(way_out()));
                        }
                        None => {
                            self.problems.push(strangers::problem(file));
                        }
                    },
                    Err(errno) => {
                        let what = phrase!("its network cannot be told: {why}", why = errno.desc());
                        self.problems.push(file.problem(ProblemKind::Socket, what).way_out(way_out()));
                    }
                }
            }
            if self.tells(file, files) {
                let what = phrase!("it tells somebody of I/O by signals, from within a pid namespace in the group");
                self.problems.push(file.problem(ProblemKind::Signal, what).way_out(way_out()));
            }
        }
    }

    fn tells(&self, file: &FileFacts, all: &FilesFacts) -> bool {
        let lives = |pid: &Pid| {
            let index = all.members.iter().position(|member| member == pid);
            index.and_then(|index| self.places.get(index)).is_some_and(|place| place.pid.is_some())
        };
        let told = || files::notify(&file.file).ok().flatten().is_some_and(|(_, id, _)| id != 0);
        file.holders.iter().any(|(pid, _)| lives(pid)) && told()
    }

    /// Says of each socket in which of them it is.
    pub fn mark(&self, files: &mut [OpenFile]) {
        for (id, network) in &self.networks {
            if let Some(file) = files.get_mut(id.0) {
                file.network = Some(*network);
            }
        }
    }

    /// What is in the way of a process, in a namespace of this kind.
    fn refuse(&mut self, process: &ProcessFacts, what: Phrase) {
        let problem = Problem::blocks(ProblemKind::Namespace, what).of(&process.shown);
        self.problems.push(problem.way_out(way_out()));
    }

    /// Where a process lives, by those of its namespaces that are not the usual ones.
    fn place(
        &mut self,
        process: &ProcessFacts,
        living: &LivingFacts,
        usual: &[Usual],
        doors: &mut BTreeMap<usize, PathBuf>,
    ) -> Place {
        let mut place = Place::default();
        let differ = living.namespaces.iter().zip(usual).filter(|(theirs, ours)| theirs != ours);
        let kinds: Vec<(&'static str, u64)> = differ.map(|((kind, inode), _)| (*kind, *inode)).collect();
        // Users first, for they are mighty over the rest.
        let (users, others): (Vec<_>, Vec<_>) = kinds.into_iter().partition(|(kind, _)| *kind == "user");
        for (kind, inode) in users.into_iter().chain(others) {
            let link = proc::thread_folder(process.pid, living.speaker).join("ns").join(kind);
            match self.find_or_add(kind, inode, &link, usual) {
                Ok(Some(index)) => {
                    place.put(kind, index);
                    doors.entry(index).or_insert(link);
                }
                Ok(None) => {
                    let what = phrase!(
                        "its {kind} namespace lies in one that no process of the group lives in, and cannot be given back yet",
                        kind
                    );
                    self.refuse(process, what);
                }
                Err(errno) => {
                    let what = phrase!("its {kind} namespace cannot be looked at: {why}", kind, why = errno.desc());
                    self.refuse(process, what);
                }
            }
        }
        place
    }

    /// The place of a namespace in the list; none: it is one for pids that lies in one that is not known.
    fn find_or_add(&mut self, kind: &'static str, inode: u64, link: &Path, usual: &[Usual]) -> Answer<Option<usize>> {
        if let Some(known) = self.known.get(&(kind, inode)) {
            return Ok(Some(*known));
        }
        let namespace = files::open(link, libc::O_RDONLY)?;
        if kind == "user" {
            return self.user(namespace, usual);
        }
        let owner = self.user(kernel::owner(&namespace)?, usual)?;
        let mut around = None;
        if kind == "pid" {
            let outer = kernel::inode(&kernel::parent(&namespace)?)?;
            around = self.known.get(&("pid", outer)).copied();
            if around.is_none() && !usual.contains(&("pid", outer)) {
                return Ok(None);
            }
        }
        Ok(Some(self.add(kind, inode, Inner { owner, around, ..Inner::default() })))
    }

    /// A user namespace, and those around it: nobody need live in them. None: the usual one.
    fn user(&mut self, namespace: OwnedFd, usual: &[Usual]) -> Answer<Option<usize>> {
        let mut new = Vec::new();
        let mut next = namespace;
        let mut owner = loop {
            let inode = kernel::inode(&next)?;
            if usual.contains(&("user", inode)) {
                break None;
            }
            if let Some(known) = self.known.get(&("user", inode)) {
                break Some(*known);
            }
            if new.len() > DEEPEST {
                return Err(Errno::ELOOP);
            }
            let around = kernel::parent(&next)?;
            new.push((inode, std::mem::replace(&mut next, around)));
        };
        for (inode, namespace) in new.into_iter().rev() {
            let index = self.add("user", inode, Inner { owner, ..Inner::default() });
            self.users.insert(index, namespace);
            owner = Some(index);
        }
        Ok(owner)
    }

    fn add(&mut self, kind: &'static str, inode: u64, inner: Inner) -> usize {
        let index = self.all.len();
        self.all.push(Inner { kind: kind.to_owned(), ..inner });
        self.known.insert((kind, inode), index);
        index
    }

    /// Those that have ended show only by their numbers where they were: with their parents, or as the first in a namespace of pids.
    fn bury(&mut self, processes: &[ProcessFacts]) {
        for (index, process) in processes.iter().enumerate().filter(|(_, process)| process.living.is_none()) {
            let parent = processes.iter().position(|other| other.pid == process.stat.ppid);
            let place = parent.map(|parent| self.places[parent]).unwrap_or_default();
            let level = inner::levels(&self.all, place.pid).len();
            if level + 1 != process.status.namespace_pid.len().max(1) {
                let what = phrase!("it has ended as the first process of a pid namespace, and has not been waited for");
                let problem = Problem::blocks(ProblemKind::Namespace, what).of(&process.shown);
                self.problems.push(problem.way_out(phrase!("Try again in a moment")));
            }
            self.places[index] = place;
        }
    }

    /// Whether each has come to its place by birth or by itself, and may stay where it is otherwise.
    fn lives(&mut self, processes: &[ProcessFacts]) {
        for (index, process) in processes.iter().enumerate() {
            let place = self.places[index];
            let parent = processes.iter().position(|other| other.pid == process.stat.ppid);
            // Whoever has no parent in the group is made by the leader of its session, if that has one.
            let session = process.stat.session;
            let leader = || processes.iter().position(|other| other.pid == session && other.pid != process.pid);
            let above = parent.or_else(leader).map(|above| self.places[above]).unwrap_or_default();
            let number = process.status.namespace_pid.get(1..).and_then(<[i32]>::last).copied();
            if parent.is_none() && place.pid.is_some() || !inner::can_come(&self.all, above, place, number) {
                let what = phrase!(
                    "it has come into its namespaces in a way that cannot be repeated: not by birth, or into those of somebody else"
                );
                self.refuse(process, what);
            }
            let Some(living) = &process.living else { continue };
            let mut threads = living.threads.iter().filter(|thread| thread.exited.is_none());
            let runs_before = threads.any(|thread| scheduling::is_favoured(thread.tid).unwrap_or_default());
            let wakes = || living.timers.iter().any(|timer| timers::wakes_the_machine(timer.clock));
            if place.user.is_some() && (runs_before || wakes()) {
                self.problems.push(member::is_favoured(&process.shown));
            }
            if self.is_led_from_nowhere(index, parent, processes) {
                let what = phrase!(
                    "it is in a process group whose leader it does not see from its pid namespace, and its parent is in another"
                );
                self.refuse(process, what);
            }
            match self.for_children(process, living, place) {
                Ok(children) => self.places[index].children = children,
                Err(what) => self.refuse(process, what),
            }
        }
    }

    /// The pid namespace that the children to come of a process would live in, if that is not its own.
    fn for_children(&self, process: &ProcessFacts, living: &LivingFacts, own: Place) -> Result<Option<usize>, Phrase> {
        let children = for_children(process, living);
        if children == inode_of(living, "pid") {
            return Ok(None);
        }
        let found = children.and_then(|inode| self.known.get(&("pid", inode)).copied());
        let is_within = |inner: &usize| {
            let found = self.all.get(*inner).filter(|inner| inner.around == own.pid);
            found.is_some_and(|inner| inner::lies_in(&self.all, inner.owner, own.user))
        };
        found.filter(is_within).map(Some).ok_or_else(|| {
            phrase!("it has made a pid namespace for its children, in which nobody lives, and which cannot be given back yet")
        })
    }

    /// Whoever does not see the leader of its process group can only be born in it: as long as the leader lives, or is somebody outside.
    fn is_led_from_nowhere(&self, index: usize, parent: Option<usize>, processes: &[ProcessFacts]) -> bool {
        let (process, place) = (&processes[index], self.places[index]);
        let session = process.stat.session;
        let leads = processes.iter().any(|other| other.pid == session);
        if place.pid.is_some() && !leads && parent.is_none_or(|parent| processes[parent].stat.session != session) {
            return true;
        }
        let led = process.stat.pgrp;
        let is_born = || parent.is_some_and(|parent| processes[parent].stat.pgrp == led);
        match processes.iter().position(|other| other.pid == led) {
            _ if place.pid.is_none() => false,
            Some(leader) => self.places[leader].pid != place.pid && !is_born(),
            None => !is_born() || !is_outside(led, processes),
        }
    }

    /// Whoever shares a place in the filesystem lives in the same user namespace, setns(2).
    fn sharers(&mut self, processes: &[ProcessFacts]) {
        let mut owners = Owners::of(Shared::Filesystem);
        let mut found: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, process) in processes.iter().enumerate() {
            let Some(living) = &process.living else { continue };
            let object = owners.find_or_add(living.speaker).unwrap_or_else(|new| new);
            found.entry(object).or_default().push(index);
        }
        for sharing in found.into_values().filter(|sharing| sharing.len() > 1) {
            let first = sharing.first().map(|index| self.places[*index].user);
            let inside = sharing.into_iter().find(|index| Some(self.places[*index].user) != first);
            if let Some(index) = inside {
                let what = phrase!(
                    "it shares its working directory with a process in another user namespace (CLONE_FS), which cannot be given back"
                );
                self.refuse(&processes[index], what);
            }
        }
    }

    /// Whoever else lives in them, and would be left alone there.
    fn guests(&mut self, processes: &[ProcessFacts]) {
        // So many are told: where the engine is the one that lives elsewhere, it is everybody.
        const FEW: usize = 8;
        let before = self.problems.len();
        let known: Vec<((&'static str, u64), usize)> = self.known.iter().map(|(key, index)| (*key, *index)).collect();
        for pid in proc::list_pids().unwrap_or_default() {
            if self.problems.len() >= before + FEW {
                break;
            }
            if processes.iter().any(|process| process.pid == pid) {
                continue;
            }
            let inode = |kind| proc::ns::read(pid, kind).map(|link| link.inode).ok();
            let lives = |((kind, own), _): &&((&'static str, u64), usize)| inode(*kind) == Some(*own);
            let Some((((kind, _), _), shown)) = known.iter().find(lives).zip(select::shown(pid)) else { continue };
            let what = phrase!("it lives in a {kind} namespace of the group, and would stay behind in it", kind);
            let problem = Problem::blocks(ProblemKind::Namespace, what).of(&shown);
            self.problems.push(problem.way_out(phrase!("Let it end first, or freeze it with the group")));
        }
    }

    /// What they could not be given again in their user namespaces.
    fn owners(&mut self, processes: &[ProcessFacts]) {
        for (index, namespace) in &self.users {
            match user::one(namespace) {
                Ok(users) => self.all[*index].users = Some(users),
                Err(problem) => self.problems.push(problem),
            }
        }
        let member = |(process, place): (&ProcessFacts, &Place)| -> Option<Member> {
            let threads = process.living.iter().flat_map(|living| &living.threads).map(|thread| &thread.status);
            let statuses = threads.chain(process.living.is_none().then_some(&process.status));
            let credentials = statuses.map(|status| credentials::of_status(status, 0)).collect();
            place.user.map(|user| (process.shown.clone(), Some(user), credentials))
        };
        let members: Vec<Member> = processes.iter().zip(&self.places).filter_map(member).collect();
        self.problems.extend(inner::judge(&self.all, &members));
        let owner = |place: &Place| place.mnt.and_then(|mounts| self.all[mounts].owner);
        let mut owned = processes.iter().zip(&self.places).filter(|(_, place)| owner(place).is_some());
        let mighty = owned.find(|(process, _)| credentials::of_status(&process.status, 0).may_administrate());
        self.problems.extend(mighty.map(|(process, _)| member::may_change_mounts(&process.shown)));
    }
}

/// The pid namespace in which the children to come of a process would live; none: one in which nobody lives.
fn for_children(process: &ProcessFacts, living: &LivingFacts) -> Option<u64> {
    let link = proc::link_thread(process.pid, living.speaker, "ns/pid_for_children").ok()?;
    proc::ns::parse(&link).ok().map(|link| link.inode)
}

fn inode_of(living: &LivingFacts, kind: &str) -> Option<u64> {
    living.namespaces.iter().find(|(found, _)| *found == kind).map(|(_, inode)| *inode)
}

/// Whether a process group has members outside of the group.
fn is_outside(led: Pid, processes: &[ProcessFacts]) -> bool {
    let others = proc::list_pids().unwrap_or_default();
    let others = others.into_iter().filter(|pid| !processes.iter().any(|process| process.pid == *pid));
    others.into_iter().any(|pid| proc::parsed(pid, "stat", stat::parse).is_ok_and(|found| found.pgrp == led))
}
