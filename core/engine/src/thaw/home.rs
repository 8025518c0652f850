//! Into the user namespace that members live in, where that is not the one they were born in: whoever makes a process with a pid must be
//! mighty over its pid namespace, and that may belong to one further out. Only who has one thread may go there, setns(2).

use std::os::fd::AsRawFd;

use dormouse_wire::{Problem, ProblemKind};

use super::inner::InnerMade;
use super::numbers::Numbers;
use super::tree::{Built, Tree};
use crate::arguments;
use crate::puppet::Batch;
use crate::resource::group::{Alive, Group, Process};
use crate::resource::namespace::inner::{self, Place, levels};
use crate::resource::namespace::user;
use crate::resource::task::credentials::{self, Credentials, Privileges};
use crate::resource::task::filesystem::Filesystem;
use crate::resource::task::timers::Timers;

/// Sends everybody there.
pub fn go(tree: &mut Tree) -> Result<(), Problem> {
    let Some(made) = user::made().filter(|made| made.is_elsewhere()) else { return Ok(()) };
    let Some((_, namespace)) = made.home() else { return Ok(()) };
    // Whoever is further in already is at home.
    for built in tree.built.iter_mut().flatten().filter(|built| built.user.is_none()) {
        let mut batch = Batch::new();
        if made.birth.is_none() {
            credentials::set_groups(&made.groups, &mut batch);
        }
        batch.must(
            "go into its user namespace",
            libc::SYS_setns,
            arguments![namespace.as_raw_fd(), libc::CLONE_NEWUSER],
        );
        built.run(&mut batch)?;
    }
    Ok(())
}

/// Sends everybody to the user namespace within the group that it lives in.
pub fn go_further_in(tree: &mut Tree, group: &Group, inner: &InnerMade) -> Result<(), Problem> {
    for (process, built) in group.processes.iter().zip(&mut tree.built) {
        if let Some(built) = built.as_mut() {
            go_one(built, process, inner)?;
        }
    }
    Ok(())
}

/// Names the pid namespace that its children to come live in, once its first process is there, and all threads and stand-ins have been: from
/// then on it can make no threads any more, clone(2).
pub fn lead_children(tree: &mut Tree, index: usize, group: &Group) -> Result<(), Problem> {
    let Some(children) = group.processes[index].place.children else { return Ok(()) };
    let is_first = |other: &Process| other.place.pid == Some(children) && other.inner.last() == Some(&1);
    let Some(founder) = group.processes.iter().position(is_first) else { return Ok(()) };
    let first = &group.processes[founder];
    if let Some(built) = tree.built[founder].as_mut() {
        // The door of one whose rights have changed is closed to all who are not mighty outside, proc_pid(5), until it is said otherwise.
        let mut batch = Batch::new();
        batch.must("be dumpable", libc::SYS_prctl, arguments![libc::PR_SET_DUMPABLE, 1, 0, 0, 0]);
        built.run(&mut batch)?;
    }
    let Some(built) = tree.built[index].as_mut() else { return Ok(()) };
    let mut batch = Batch::new();
    let path =
        batch.text(format!("/proc/{}/ns/pid", inner::shown_as(group, &group.processes[index], first)).as_bytes());
    let door = batch.must(
        "open the pid namespace of its children",
        libc::SYS_openat,
        arguments![libc::AT_FDCWD, path, libc::O_RDONLY, 0],
    );
    batch.must("name the pid namespace of its children", libc::SYS_setns, arguments![door, libc::CLONE_NEWPID]);
    batch.must("close it again", libc::SYS_close, arguments![door]);
    built.run(&mut batch)
}

/// The same of one that has been born.
pub fn go_one(built: &mut Built, process: &Process, inner: &InnerMade) -> Result<(), Problem> {
    let home = process.place.user.filter(|user| built.user != Some(*user));
    match home.and_then(|user| Some((user, inner.namespace(user)?))) {
        Some((user, namespace)) => built.go(user, namespace, inner.groups(user)),
        None => Ok(()),
    }
}

/// Lets one that has been born enter the networks and the like that its parent is not in, while it is mighty over them: its children are
/// born in them.
pub fn enter(built: &mut Built, own: Place, parent: Place, inner: &InnerMade) -> Result<(), Problem> {
    let mut batch = Batch::new();
    let kinds = [
        ("net", libc::CLONE_NEWNET),
        ("ipc", libc::CLONE_NEWIPC),
        ("uts", libc::CLONE_NEWUTS),
        ("cgroup", libc::CLONE_NEWCGROUP),
        ("mnt", libc::CLONE_NEWNS),
    ];
    for (kind, flag) in kinds {
        let entered = own.of(kind).filter(|_| own.of(kind) != parent.of(kind));
        if let Some(namespace) = entered.and_then(|place| inner.namespace(place)) {
            let purpose = format!("go into its {kind} namespace");
            batch.must(purpose, libc::SYS_setns, arguments![namespace.as_raw_fd(), flag]);
        }
    }
    built.run(&mut batch)
}

/// Where a process lives.
#[derive(Clone, Copy, Debug)]
pub struct Home<'a> {
    /// The group.
    pub group: &'a Group,
    /// The namespaces that only some of it live in.
    pub inner: &'a InnerMade,
    /// The process.
    pub process: &'a Process,
}

impl Home<'_> {
    /// Whether it has none of the rights of the engine any more, but those in a user namespace.
    pub fn is_elsewhere(&self) -> bool {
        user::made().is_some() || self.process.place.user.is_some()
    }

    /// The credentials as they are called where it lives, and what it has to begin with.
    pub fn given(&self, record: &Credentials) -> Result<(Credentials, Privileges), Problem> {
        let given = match (self.process.place.user, user::made()) {
            (Some(user), _) => self.inner.given(self.group, user, record),
            (None, Some(made)) => made.given(record),
            (None, None) => Ok((record.clone(), Privileges::own())),
        };
        given.map_err(|what| Problem::blocks(ProblemKind::Namespace, what).of(&self.process.shown()))
    }

    /// Working directory, then root: the path of either is told from the system's root. `mighty`: with the rights of the engine, where it
    /// still has them.
    pub fn go_to(
        &self,
        record: &Filesystem,
        alive: &Alive,
        mighty: bool,
        (built, numbers): (&mut Built, &mut Numbers),
    ) -> Result<(), Problem> {
        let who = alive.leader().map(|leader| &leader.credentials);
        let mut batch = Batch::new();
        match who {
            Some(who) if self.process.place.user.is_some() => {
                let (inner, _) = self.given(who)?;
                credentials::act_for_good(&inner, &mut batch);
            }
            Some(who) if !mighty => credentials::act(who, &mut batch),
            _ => {}
        }
        if !record.ended.working_directory {
            change_directory(&record.working_directory, &mut batch);
        }
        if who.is_some() && self.process.place.user.is_none() && !mighty {
            credentials::act_no_more(&mut batch);
        }
        built.run(&mut batch)?;
        if !record.ended.is_neither() {
            built.go_to_nowhere(record, &levels(&self.group.inner, self.process.place.pid), numbers)?;
        }
        let mut batch = Batch::new();
        if record.root.as_slice() != b"/" && !record.ended.root {
            let root = batch.text(&record.root);
            batch.must("change its root directory", libc::SYS_chroot, arguments![root]);
        }
        batch.must("set its umask", libc::SYS_umask, arguments![record.umask]);
        built.run(&mut batch)
    }
}

/// The timers of a process, the threads that they tell called as they are where it lives.
pub fn timers(alive: &Alive) -> Timers {
    let mut timers = alive.timers.clone();
    for timer in &mut timers.posix {
        let told = alive.threads.iter().find(|thread| thread.tid.0 == timer.thread);
        timer.thread = told.map_or(timer.thread, |thread| thread.called().0);
    }
    timers
}

fn change_directory(path: &[u8], batch: &mut Batch) {
    let directory = batch.text(path);
    let shown = String::from_utf8_lossy(path).escape_debug().to_string();
    batch.must(format!("change to its working directory {shown}"), libc::SYS_chdir, arguments![directory]);
}
