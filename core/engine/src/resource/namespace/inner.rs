//! Namespaces that only some members of a group live in, each in one of those around it, as browsers make them for their parts:
//! user_namespaces(7), pid_namespaces(7), network_namespaces(7), ipc_namespaces(7), uts_namespaces(7), cgroup_namespaces(7),
//! mount_namespaces(7), of which `mount/mod.rs` tells more. All pids in all records are those that the engine sees;
//! what a process is called further in stands beside them.

// zoo: none, because a sandbox within a group is made by a program's own parts: see tests/capsules and tests/programs

use dormouse_wire::{Pid, Problem, ProblemKind, ProcessName, phrase};
use serde::{Deserialize, Serialize};

use super::mount::{Mount, Table};
use super::names::Names;
use super::network::Loopback;
use super::settings::{self, Setting};
use super::user::{self, UserNamespace};
use crate::kernel::Errno;
use crate::resource::group::{Group, Life, Process};
use crate::resource::task::credentials::Credentials;

/// A namespace that only some members live in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inner {
    /// `cgroup`, `ipc`, `mnt`, `net`, `pid`, `user` or `uts`.
    pub kind: String,
    /// The user namespace that it belongs to, or lies in: one further up in the list; none: that of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<usize>,
    /// Of one for pids: the one that it lies in; none: that of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub around: Option<usize>,
    /// How users lead out of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<UserNamespace>,
    /// The loopback device in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loopback: Option<Loopback>,
    /// Settings of the kernel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
    /// The names in one of uts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Names>,
    /// The control groups that are the roots of one of those, one of each hierarchy, indices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<usize>,
    /// The mounts in one of mounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
}

/// The kinds that can be given back to some members alone.
pub const KINDS: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

/// In which of them a process lives, by kind: places in the list; none: in that of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Of control groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<usize>,
    /// Of System V IPC and message queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipc: Option<usize>,
    /// Of mounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mnt: Option<usize>,
    /// The network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net: Option<usize>,
    /// Of pids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<usize>,
    /// Of users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<usize>,
    /// Of the names of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uts: Option<usize>,
    /// Of pids, for its children to come, where that is not its own: unshare(1) makes one so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub children: Option<usize>,
}

impl Place {
    /// Where the others are.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// The one of this kind.
    pub fn of(&self, kind: &str) -> Option<usize> {
        match kind {
            "cgroup" => self.cgroup,
            "ipc" => self.ipc,
            "mnt" => self.mnt,
            "net" => self.net,
            "pid" => self.pid,
            "uts" => self.uts,
            _ => self.user,
        }
    }

    /// Names the one of this kind.
    pub fn put(&mut self, kind: &str, inner: usize) {
        let place = match kind {
            "cgroup" => &mut self.cgroup,
            "ipc" => &mut self.ipc,
            "mnt" => &mut self.mnt,
            "net" => &mut self.net,
            "pid" => &mut self.pid,
            "uts" => &mut self.uts,
            _ => &mut self.user,
        };
        *place = Some(inner);
    }
}

/// What something that the engine calls by the first number is called so many pid namespaces further in; 0: here.
pub fn called_at(number: i32, inner: &[i32], level: usize) -> i32 {
    level.checked_sub(1).and_then(|level| inner.get(level).copied()).unwrap_or(number)
}

/// The namespaces of this kind around one, beginning with itself.
fn outwards(all: &[Inner], from: Option<usize>, of_pids: bool) -> impl Iterator<Item = usize> {
    let up = move |index: &usize| {
        let inner = all.get(*index)?;
        // One that names itself, or one further down, is refused; nobody goes round in circles until then.
        if of_pids { inner.around } else { inner.owner }.filter(|above| above < index)
    };
    std::iter::successors(from, up)
}

/// Whether one user namespace is, or lies in, another; none: that of the others.
pub fn lies_in(all: &[Inner], one: Option<usize>, other: Option<usize>) -> bool {
    other.is_none() || outwards(all, one, false).any(|around| Some(around) == other)
}

/// What is wrong with the records, whoever wrote them. Processes stand behind their parents.
pub fn verify(group: &Group) -> Option<&'static str> {
    let all = &group.inner;
    for (index, one) in all.iter().enumerate() {
        let is = |other: Option<usize>, kind: &str| {
            other.is_none_or(|other| other < index && all.get(other).is_some_and(|other| other.kind == kind))
        };
        if !KINDS.contains(&one.kind.as_str()) || !is(one.owner, "user") || !is(one.around, "pid") {
            return Some("a namespace within the group that cannot be");
        }
        if (one.kind == "user") != one.users.is_some() || one.kind != "pid" && one.around.is_some() {
            return Some("a namespace within the group that is of two kinds");
        }
        let around = one.owner.and_then(|around| all.get(around)?.users.as_ref());
        if let Some(odd) = one.users.as_ref().and_then(|users| users.verify(around)) {
            return Some(odd);
        }
        if (one.kind == "mnt") == one.mounts.is_empty() || one.kind != "uts" && one.names.is_some() {
            return Some("a namespace within the group that is of two kinds");
        }
        if one.settings.iter().any(|setting| !settings::is_of(&one.kind, setting)) {
            return Some("a setting that belongs to the whole system");
        }
    }
    let mounts = group.open_files.iter().map(|file| file.mounts);
    let mounts = mounts.chain(group.mapped_files.iter().map(|file| file.mounts));
    let mut mounts = mounts.chain(group.contents.iter().map(|content| content.mounts)).flatten();
    if mounts.any(|mounts| all.get(mounts).is_none_or(|inner| inner.kind != "mnt")) {
        return Some("a file among mounts that are none");
    }
    if all.iter().flat_map(|inner| &inner.roots).any(|root| *root >= group.control_groups.len()) {
        return Some("a namespace with a control group that is not there");
    }
    let networks = group.open_files.iter().filter_map(|file| file.network);
    if networks.into_iter().any(|network| all.get(network).is_none_or(|inner| inner.kind != "net")) {
        return Some("a socket in a network that is none");
    }
    group.processes.iter().find_map(|process| verify_process(group, process))
}

fn verify_process(group: &Group, process: &Process) -> Option<&'static str> {
    const ODD: Option<&str> = Some("a process in a namespace that it cannot have come into");
    let (all, place) = (&group.inner, process.place);
    let parent = process.family.parent.and_then(|parent| group.processes.iter().find(|other| other.pid() == parent));
    let above = parent.or_else(|| session_leader(group, process)).map(|above| above.place).unwrap_or_default();
    for kind in KINDS {
        let is_one = |inner: usize| all.get(inner).is_some_and(|inner| inner.kind == kind);
        if place.of(kind).is_some_and(|inner| !is_one(inner)) {
            return ODD;
        }
    }
    let founded = |other: &Process| other.place.pid == place.children && other.inner.last() == Some(&1);
    let is_within = |inner: usize| {
        let found = all.get(inner).filter(|inner| inner.kind == "pid" && inner.around == place.pid);
        found.is_some_and(|inner| lies_in(all, inner.owner, place.user))
    };
    let is_founded = || group.processes.iter().any(|other| founded(other) && other.alive().is_some());
    if place.children.is_some_and(|inner| !is_within(inner) || !is_founded()) {
        return ODD;
    }
    let level = levels(all, place.pid).len();
    let threads = process.alive().map(|alive| alive.threads.as_slice()).unwrap_or_default();
    let counts = threads.iter().map(|thread| &thread.inner).chain([&process.inner]);
    if counts.into_iter().any(|inner| inner.len() != level || inner.iter().any(|number| *number < 1)) {
        return Some("a process without a number for each pid namespace that it is in");
    }
    if threads.first().is_some_and(|leader| leader.inner != process.inner) {
        return Some("a process that is called by two numbers");
    }
    if parent.is_none() && place.pid.is_some() {
        return ODD;
    }
    if can_come(all, above, place, process.inner.last().copied()) { None } else { ODD }
}

/// Who makes a process without a parent in the group, if a member leads its session.
fn session_leader<'a>(group: &'a Group, process: &Process) -> Option<&'a Process> {
    let session = process.family.session;
    group.processes.iter().find(|other| other.pid() == session && other.pid() != process.pid())
}

/// The user namespace that those in a pid namespace are born in: the one that it belongs to.
pub fn born_in(all: &[Inner], pids: Option<usize>) -> Option<usize> {
    pids.and_then(|pids| all.get(pids)?.owner)
}

/// The kinds that one goes into where one is mighty over them, and that are inherited otherwise.
pub const ENTERED: [&str; 5] = ["cgroup", "ipc", "mnt", "net", "uts"];

/// Whether a process at one place can have a child at another, which has this number where that lives.
pub fn can_come(all: &[Inner], parent: Place, child: Place, number: Option<i32>) -> bool {
    let home = born_in(all, child.pid);
    // Into a pid namespace one comes by birth, as the first one.
    let is_born = child.pid == parent.pid || {
        let around = child.pid.and_then(|inner| all.get(inner)).map(|inner| inner.around);
        around == Some(parent.pid) && number == Some(1) && lies_in(all, home, born_in(all, parent.pid))
    };
    // From there one goes further in only; networks and the like are inherited from the parent.
    let owner = |inner: usize| all.get(inner).and_then(|inner| inner.owner);
    let enters = |kind: &str| {
        let enters = child.of(kind).is_some_and(|inner| lies_in(all, owner(inner), home));
        child.of(kind) == parent.of(kind) || enters
    };
    is_born && lies_in(all, child.user, home) && ENTERED.into_iter().all(enters)
}

/// The namespaces of pids that somebody has a number in, the outermost first.
pub fn levels(all: &[Inner], pids: Option<usize>) -> Vec<usize> {
    let mut levels: Vec<usize> = outwards(all, pids, true).collect();
    levels.reverse();
    levels
}

/// Somebody in a user namespace within the group: its name, where it lives, and whom its threads belong to.
pub type Member = (ProcessName, Option<usize>, Vec<Credentials>);

/// What members could not be given in theirs.
pub fn judge(all: &[Inner], members: &[Member]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, users) in all.iter().enumerate().filter_map(|(index, inner)| Some((index, inner.users.as_ref()?))) {
        let inhabitants = || members.iter().filter(|(_, user, _)| *user == Some(index));
        let shared = user::common_groups(inhabitants().flat_map(|(.., credentials)| credentials)).is_some();
        for (shown, _, credentials) in inhabitants() {
            let what = credentials.iter().find_map(|credentials| users.judge(credentials, shared));
            let refuse = |what| Problem::blocks(ProblemKind::Namespace, what).of(shown);
            problems.extend(what.map(|what| refuse(what).way_out(phrase!("Pause the group instead"))));
        }
    }
    problems
}

/// The same of a group in an image.
pub fn preflight(group: &Group) -> Vec<Problem> {
    let credentials = |process: &Process| match &process.life {
        Life::Alive(alive) => alive.threads.iter().map(|thread| thread.credentials.clone()).collect(),
        Life::Zombie(zombie) => vec![zombie.credentials.clone()],
    };
    let inside = group.processes.iter().filter(|process| process.place.user.is_some());
    let members: Vec<_> = inside.map(|process| (process.shown(), process.place.user, credentials(process))).collect();
    judge(&group.inner, &members)
}

/// How a process is called where its parent lives.
pub fn called_by_parent(group: &Group, process: &Process) -> Pid {
    let parent = process.family.parent.and_then(|parent| group.processes.iter().find(|other| other.pid() == parent));
    Pid(called_at(process.pid().0, &process.inner, parent.map_or(0, |parent| parent.inner.len())))
}

/// What a process is called where it lives itself.
pub fn called(process: &Process) -> Pid {
    Pid(called_at(process.pid().0, &process.inner, process.inner.len()))
}

/// By which number one process finds another in /proc: that of the pid namespace which what is mounted there shows.
pub fn shown_as(group: &Group, finder: &Process, other: &Process) -> Pid {
    let mounts = finder.place.mnt.and_then(|mounts| group.inner.get(mounts));
    let proc = mounts.and_then(|inner| Table { filesystems: &group.mounted, mounts: &inner.mounts }.proc());
    let level = proc.map_or(0, |proc| levels(&group.inner, proc.place.pid).len());
    Pid(called_at(other.pid().0, &other.inner, level))
}

/// What is said where one cannot be made.
pub fn unmade(kind: &str, why: Errno) -> Problem {
    let what = phrase!("a {kind} namespace within the group cannot be made: {why}", kind, why = why.desc());
    Problem::blocks(ProblemKind::Namespace, what).way_out(phrase!("Run Dormouse as root, outside of any sandbox"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Chromium makes them: one user namespace in another, pids and a network that belong to the outer one, and pids in those that
    /// belong to the inner one.
    fn browser() -> Vec<Inner> {
        let inner = |kind: &str, owner, around| Inner { kind: kind.to_owned(), owner, around, ..Inner::default() };
        vec![
            inner("user", None, None),
            inner("user", Some(0), None),
            inner("pid", Some(0), None),
            inner("net", Some(0), None),
            inner("pid", Some(1), Some(2)),
        ]
    }

    #[test]
    fn the_parts_of_a_browser_can_come_to_their_places() {
        let all = browser();
        let outside = Place::default();
        let zygote = Place { net: Some(3), pid: Some(2), user: Some(1), ..outside };
        let page = Place { pid: Some(4), ..zygote };
        assert!(can_come(&all, outside, zygote, Some(1)));
        assert!(can_come(&all, zygote, zygote, Some(3)));
        assert!(can_come(&all, zygote, page, Some(1)));
        assert_eq!((levels(&all, page.pid), born_in(&all, page.pid)), (vec![2, 4], Some(1)));
    }

    #[test]
    fn nobody_comes_by_another_way() {
        let all = browser();
        let outside = Place::default();
        let zygote = Place { net: Some(3), pid: Some(2), user: Some(1), ..outside };
        let page = Place { pid: Some(4), ..zygote };
        // Not as the second one, not out again, not past the one between, and not into a network from where one is mighty no more.
        assert!(!can_come(&all, outside, zygote, Some(2)));
        assert!(!can_come(&all, page, zygote, Some(3)));
        assert!(!can_come(&all, outside, page, Some(1)));
        assert!(!can_come(&all, zygote, outside, None));
        assert!(!can_come(&all, Place { net: None, ..zygote }, page, Some(1)));
    }

    #[test]
    fn a_number_is_told_by_level() {
        assert_eq!([0, 1, 2, 3].map(|level| called_at(500, &[7, 1], level)), [500, 7, 1, 500]);
    }
}
