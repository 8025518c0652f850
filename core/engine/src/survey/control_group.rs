//! The control groups of processes as folders: who else is in them, and whether they are frozen. cgroups(7),
//! Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/freezer-subsystem.rst.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use dormouse_wire::{Pid, Problem, ProblemKind, phrase};

use super::select::named;
use crate::proc::cgroup::{self, CgroupMembership};
use crate::proc::{self, ProcError, mountinfo, stat, text};

/// Which freezer a control group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Freezer {
    /// `cgroup.freeze` of cgroup v2.
    Unified,
    /// `freezer.state` of cgroup v1.
    Old,
}

/// A control group, but never the root of its hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ControlGroup {
    /// Its freezer.
    pub freezer: Freezer,
    /// The folder.
    pub folder: PathBuf,
    /// The folder that the hierarchy is mounted on.
    top: PathBuf,
}

/// Where the hierarchies that have a freezer are mounted: the mount point, and what of the hierarchy is seen there.
#[derive(Clone, Debug, Default)]
pub struct Hierarchies {
    unified: Option<(PathBuf, Vec<u8>)>,
    old: Option<(PathBuf, Vec<u8>)>,
}

impl Hierarchies {
    /// Those that this process sees.
    pub fn mounted() -> Result<Self, ProcError> {
        let mut found = Self::default();
        for mount in proc::parsed(Pid(std::process::id() as i32), "mountinfo", mountinfo::parse)? {
            let has_freezer = || mount.super_options.split(|byte| *byte == b',').any(|option| option == b"freezer");
            let place = (PathBuf::from(OsStr::from_bytes(&mount.mount_point)), mount.root.clone());
            match &mount.filesystem[..] {
                b"cgroup2" => _ = found.unified.get_or_insert(place),
                b"cgroup" if has_freezer() => _ = found.old.get_or_insert(place),
                _ => {}
            }
        }
        Ok(found)
    }

    /// The control group of a process that this freezer could freeze. None: the process is in the root, or outside of what
    /// can be seen.
    pub fn of(&self, pid: Pid, freezer: Freezer) -> Option<ControlGroup> {
        self.within(&proc::parsed(pid, "cgroup", cgroup::parse).ok()?, freezer)
    }

    /// The same for a process with these memberships.
    pub fn within(&self, memberships: &[CgroupMembership], freezer: Freezer) -> Option<ControlGroup> {
        let (top, root) = match freezer {
            Freezer::Unified => self.unified.as_ref()?,
            Freezer::Old => self.old.as_ref()?,
        };
        let wanted = |one: &&CgroupMembership| match freezer {
            Freezer::Unified => one.is_unified(),
            Freezer::Old => one.controllers.iter().any(|name| name == "freezer"),
        };
        let membership = memberships.iter().find(wanted)?;
        let (path, deleted) = proc::strip_deleted(&membership.path);
        let below = if root == b"/" { path } else { path.strip_prefix(&root[..])? };
        let below = below.strip_prefix(b"/")?;
        if deleted || below.is_empty() || below.split(|byte| *byte == b'/').any(|part| part == b"..") {
            return None;
        }
        Some(ControlGroup { freezer, folder: top.join(OsStr::from_bytes(below)), top: top.clone() })
    }

    /// The control groups of a process, one for each freezer.
    pub fn all_of(&self, pid: Pid) -> Vec<ControlGroup> {
        let memberships = proc::parsed(pid, "cgroup", cgroup::parse).unwrap_or_default();
        [Freezer::Unified, Freezer::Old].into_iter().filter_map(|freezer| self.within(&memberships, freezer)).collect()
    }
}

impl ControlGroup {
    /// Its last name, if it is what systemd calls its units: a scope or a service.
    pub fn unit(&self) -> Option<&str> {
        let name = self.folder.file_name()?.to_str()?;
        let (_, kind) = name.rsplit_once('.')?;
        ["scope", "service"].contains(&kind).then_some(name)
    }

    /// It and those above it, the root left out, from below.
    pub fn and_above(&self) -> impl Iterator<Item = Self> {
        let inside = |folder: &&Path| **folder != *self.top && folder.starts_with(&self.top);
        self.folder.ancestors().take_while(inside).map(|folder| Self { folder: folder.to_owned(), ..self.clone() })
    }

    /// The processes in it and below. An error also where they cannot be told: those of a threaded group.
    pub fn processes(&self) -> io::Result<HashSet<Pid>> {
        let mut found = HashSet::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            let listed = fs::read(folder.join("cgroup.procs"))?;
            // A process of another pid namespace is 0, and so nobody's member.
            found.extend(text::words(&listed).filter_map(text::decimal).map(Pid));
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        Ok(found)
    }

    /// Whether nobody else is in it or below. Who was made since the members were listed descends from one of them.
    pub fn holds_only(&self, members: &HashSet<Pid>) -> bool {
        self.processes().is_ok_and(|processes| processes.into_iter().all(|pid| is_or_was_below(pid, members)))
    }

    /// Whether all in it stand still, or are just about to, be it for a group above.
    pub fn is_frozen(&self) -> bool {
        match self.freezer {
            Freezer::Unified => self.stands_still() || self.is_told_to_freeze(),
            Freezer::Old => self.stands_still() || self.says("freezer.state", b"FREEZING"),
        }
    }

    /// Whether all in it stand still.
    pub fn stands_still(&self) -> bool {
        match self.freezer {
            Freezer::Unified => {
                let events = fs::read(self.folder.join("cgroup.events")).unwrap_or_default();
                text::lines(&events).any(|line| line == b"frozen 1")
            }
            Freezer::Old => self.says("freezer.state", b"FROZEN"),
        }
    }

    /// Whether this very group was told to freeze.
    pub fn is_told_to_freeze(&self) -> bool {
        match self.freezer {
            Freezer::Unified => self.says("cgroup.freeze", b"1"),
            Freezer::Old => self.says("freezer.self_freezing", b"1"),
        }
    }

    fn says(&self, file: &str, word: &[u8]) -> bool {
        fs::read(self.folder.join(file)).is_ok_and(|bytes| bytes.trim_ascii() == word)
    }
}

/// Whether a process is a member or descends from one, or has ended meanwhile.
fn is_or_was_below(pid: Pid, members: &HashSet<Pid>) -> bool {
    let mut above = pid;
    while !members.contains(&above) {
        match proc::parsed(above, "stat", stat::parse) {
            Ok(stat) if stat.ppid.0 > 0 => above = stat.ppid,
            // A process of another pid namespace has the pid 0 here.
            Ok(_) | Err(ProcError::Missing { .. } | ProcError::Denied { .. }) => return false,
            Err(_) => return above == pid && pid.0 > 0,
        }
    }
    true
}

/// A process whose control group is frozen cannot be frozen into a file: the work inside it would never be done.
pub fn none_is_frozen(members: &[Pid]) -> Result<(), Problem> {
    let Ok(hierarchies) = Hierarchies::mounted() else { return Ok(()) };
    let mut looked_at = HashSet::new();
    for pid in members {
        for group in hierarchies.all_of(*pid) {
            if !looked_at.contains(&group.folder) && group.is_frozen() {
                let what = phrase!("it is paused: its control group is frozen");
                let way_out = phrase!("Resume it first: dormouse resume {pid}", pid = members.first().unwrap_or(pid));
                return Err(Problem::blocks(ProblemKind::Process, what).of(&named(*pid)).way_out(way_out));
            }
            looked_at.insert(group.folder);
        }
    }
    Ok(())
}
