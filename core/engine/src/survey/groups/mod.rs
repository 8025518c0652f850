//! What a person calls an app or a job: every process belongs to exactly one group.
//!
//! It is its systemd unit, read from its control group; else its session; else the tree it grew in. A shell in a terminal
//! shares the unit of the terminal emulator: a session with a pseudo-terminal of its own is a group by itself. Threads of
//! the kernel and init belong to no group.
//!
//! On top of that, what cannot be cut (shared memory, a pipe, one tracing the other) joins groups: [`joined`]. Pure but
//! for [`now`]: processes in, groups out.

mod join;
pub mod unit;

pub use join::joined;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dormouse_wire::{GroupKind, Joined, Pid};

use super::connections::Connections;
use super::everyone::Process;
use unit::Unit;

/// A group of processes.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// What a person types to mean it, see [`dormouse_wire::Listed::id`].
    pub id: String,
    /// What makes it a group.
    pub kind: GroupKind,
    /// Its unit.
    pub unit: Option<Unit>,
    /// The process that the others came from.
    pub first: &'a Process,
    /// All of them: the first one first, then by age.
    pub members: Vec<&'a Process>,
    /// Groups that would stand for themselves, were they not joined to it by what cannot be cut.
    pub joined: Vec<Joined>,
}

/// What processes of one group have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bond {
    /// The control group of a unit.
    Unit(Vec<u8>),
    /// A session.
    Session(Pid),
    /// The topmost process of a tree.
    Tree(Pid),
}

const INIT: Pid = Pid(1);
/// Major numbers of the slaves of pseudo-terminals, Documentation/admin-guide/devices.txt.
const PSEUDO_TERMINALS: std::ops::RangeInclusive<u32> = 136..=143;

/// The groups that these processes are in now: sorted, and joined by what a look at everybody shows. `asker`: see [`joined`].
pub fn now(processes: &[Process], asker: Pid) -> Vec<Group<'_>> {
    joined(of(processes), &Connections::look().graph, asker)
}

/// Sorts processes into groups, in the order of their first processes' pids.
pub fn of(processes: &[Process]) -> Vec<Group<'_>> {
    let mut trees = Trees::new(processes);
    let mut units = HashMap::new();
    let mut bound: BTreeMap<Bond, Vec<&Process>> = BTreeMap::new();
    for process in processes.iter().filter(|process| !process.kernel_thread && process.pid != INIT) {
        let bond = match unit_of(process) {
            Some(unit) => {
                let bond = Bond::Unit(unit.path.clone());
                units.entry(unit.path.clone()).or_insert(unit);
                bond
            }
            None if has_session(process) => Bond::Session(process.session),
            None => Bond::Tree(trees.top(process.pid)),
        };
        bound.entry(bond).or_default().push(process);
    }
    for (session, members) in terminals(&mut bound) {
        bound.entry(Bond::Session(session)).or_default().extend(members);
    }
    let mut groups: Vec<Group<'_>> =
        bound.into_iter().filter_map(|(bond, members)| group(bond, members, &mut units)).collect();
    tell_apart(&mut groups);
    groups.sort_by_key(|group| group.first.pid);
    groups
}

/// In cgroup v2, else in systemd's own hierarchy of cgroup v1.
fn unit_of(process: &Process) -> Option<Unit> {
    let cgroups = process.cgroups.as_ref()?;
    [cgroups.unified(), cgroups.of_controller("name=systemd")].into_iter().flatten().find_map(unit::of)
}

/// What runs in the session of init was put into none.
fn has_session(process: &Process) -> bool {
    process.session.0 > INIT.0
}

/// Takes out of units the sessions that have a pseudo-terminal of their own. That in which the unit itself began stays.
fn terminals<'a>(bound: &mut BTreeMap<Bond, Vec<&'a Process>>) -> Vec<(Pid, Vec<&'a Process>)> {
    let mut found: BTreeMap<Pid, Vec<&Process>> = BTreeMap::new();
    for (bond, members) in bound.iter_mut() {
        let Some(own) = first(members).map(|first| first.session).filter(|_| matches!(bond, Bond::Unit(_))) else {
            continue;
        };
        let on_terminals: BTreeSet<Pid> = members
            .iter()
            .filter(|process| process.terminal.is_some_and(|(major, _)| PSEUDO_TERMINALS.contains(&major)))
            .map(|process| process.session)
            .filter(|session| *session != own && session.0 > INIT.0)
            .collect();
        members.retain(|process| {
            let leaves = on_terminals.contains(&process.session);
            if leaves {
                found.entry(process.session).or_default().push(process);
            }
            !leaves
        });
    }
    found.into_iter().collect()
}

/// The eldest whose parent is not among them.
fn first<'a>(members: &[&'a Process]) -> Option<&'a Process> {
    let pids: BTreeSet<Pid> = members.iter().map(|process| process.pid).collect();
    let age = |process: &&&Process| (pids.contains(&process.parent), process.start_time, process.pid);
    members.iter().min_by_key(age).copied()
}

fn group<'a>(bond: Bond, mut members: Vec<&'a Process>, units: &mut HashMap<Vec<u8>, Unit>) -> Option<Group<'a>> {
    let first = match &bond {
        // The leader, if it is still there.
        Bond::Session(session) => members.iter().find(|process| process.pid == *session).copied(),
        _ => None,
    };
    let first = first.or_else(|| self::first(&members))?;
    members.sort_by_key(|process| (process.pid != first.pid, process.start_time, process.pid));
    let (id, kind, unit) = match bond {
        Bond::Unit(path) => {
            let unit = units.remove(&path)?;
            (unit.name.clone(), unit.kind, Some(unit))
        }
        Bond::Session(session) => (format!("session-{session}"), GroupKind::Session, None),
        Bond::Tree(top) => (top.to_string(), GroupKind::Tree, None),
    };
    Some(Group { id, kind, unit, first, members, joined: Vec::new() })
}

/// Units of several managers may have one name: those of users get the uid behind it, and what is still the same then the
/// pid of the first process.
fn tell_apart(groups: &mut [Group<'_>]) {
    let by_manager = |group: &Group<'_>| {
        let uid = group.unit.as_ref()?.manager?;
        Some(format!("{}:{uid}", group.id))
    };
    add_where_alike(groups, by_manager);
    add_where_alike(groups, |group| Some(format!("{}:pid-{}", group.id, group.first.pid)));
}

fn add_where_alike(groups: &mut [Group<'_>], longer: impl Fn(&Group<'_>) -> Option<String>) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for group in groups.iter() {
        *counts.entry(group.id.clone()).or_default() += 1;
    }
    for group in groups.iter_mut().filter(|group| counts.get(&group.id).is_some_and(|count| *count > 1)) {
        group.id = longer(group).unwrap_or_else(|| group.id.clone());
    }
}

/// The processes that are in no unit and no session, as trees.
struct Trees {
    /// Of each such process its parent.
    parents: HashMap<Pid, Pid>,
    tops: HashMap<Pid, Pid>,
}

impl Trees {
    fn new(processes: &[Process]) -> Self {
        let is_in_one = |process: &&Process| {
            process.pid != INIT && !process.kernel_thread && !has_session(process) && unit_of(process).is_none()
        };
        let parents = processes.iter().filter(is_in_one).map(|process| (process.pid, process.parent)).collect();
        Self { parents, tops: HashMap::new() }
    }

    /// The topmost ancestor that is in no unit and no session either.
    fn top(&mut self, pid: Pid) -> Pid {
        let (mut top, mut way) = (pid, vec![pid]);
        while let Some(parent) = self.parents.get(&top).copied().filter(|parent| self.parents.contains_key(parent)) {
            top = self.tops.get(&parent).copied().unwrap_or(parent);
            way.push(top);
            // Two surveys of one pid could make a ring.
            if self.tops.contains_key(&parent) || way.len() > self.parents.len() {
                break;
            }
        }
        self.tops.extend(way.into_iter().map(|pid| (pid, top)));
        top
    }
}

/// What a person has typed.
#[derive(Clone, Copy, Debug)]
pub enum Found<'g, 'a> {
    /// This group.
    One(&'g Group<'a>),
    /// No group is called so.
    None,
    /// More than one is.
    Several,
}

/// The group that a person means: by its id, by the pid of any of its processes, or by its unit or application where only
/// one has that.
pub fn find<'g, 'a>(groups: &'g [Group<'a>], text: &str) -> Found<'g, 'a> {
    let pid = text.parse().ok().map(Pid);
    let has_pid = |group: &&Group<'_>| group.members.iter().any(|process| Some(process.pid) == pid);
    let has_id = |group: &&Group<'_>| group.id == text || group.joined.iter().any(|part| part.id == text);
    if let Some(group) = groups.iter().find(has_id).or_else(|| groups.iter().find(has_pid)) {
        return Found::One(group);
    }
    let is_called = |group: &&Group<'_>| {
        group.unit.as_ref().is_some_and(|unit| {
            let stem = unit.name.strip_suffix(".service").or_else(|| unit.name.strip_suffix(".scope"));
            unit.name == text || stem == Some(text) || unit.applications.iter().any(|application| application == text)
        })
    };
    let mut called = groups.iter().filter(is_called);
    match (called.next(), called.next()) {
        (Some(group), None) => Found::One(group),
        (None, _) => Found::None,
        _ => Found::Several,
    }
}

#[cfg(test)]
mod tests;
