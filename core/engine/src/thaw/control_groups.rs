//! Back into the control groups: each process goes where it was as soon as it is born, before it has memory that would be
//! charged to somebody else, and its children are born there; threads that were elsewhere go there once they are made.
//!
//! A group that is still there is taken as it is. One that is gone is made again, with what was set there, unless it belonged to a
//! unit of systemd. Whoever cannot go where it was stays where the engine is, and that is told: the group can do without.

use std::thread;
use std::time::Duration;

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, phrase};

use super::trust;
use crate::ThawOptions;
use crate::image::Reader;
use crate::kernel::Errno;
use crate::kernel::files;
use crate::kernel::identity::{Acting, Identity};
use crate::proc;
use crate::proc::cgroup::{self, CgroupMembership};
use crate::resource::group::{Group, Process};
use crate::resource::task::control_group::hierarchies::{Folder, Hierarchies};
use crate::resource::task::control_group::{ControlGroup, is_unit};
use crate::survey::control_group::{self, Freezer, Hierarchies as Freezers};

/// The control groups of a group that is being built. Those that were made for it are gone when this is dropped; the
/// processes must be gone by then.
#[derive(Debug)]
pub struct Places {
    hierarchies: Hierarchies,
    /// With whose rights: none: the engine's own.
    who: Option<Identity>,
    /// By record.
    doors: Vec<Door>,
    made: Vec<Made>,
    losses: Vec<Problem>,
}

/// The way into a control group.
#[derive(Debug)]
enum Door {
    /// Nobody has asked for it.
    Unknown,
    /// This is it.
    Open(Folder),
    /// It cannot be had.
    Shut,
}

/// A control group that was made: the one above it, and its name there.
#[derive(Debug)]
struct Made(Folder, Vec<u8>);

/// What was found of a control group.
enum Look<'a> {
    There(Folder),
    /// It is gone from this one on down, and these names are missing.
    Gone(Folder, Vec<&'a [u8]>),
    Nowhere(Errno),
    NoHierarchy,
}

impl Places {
    /// Those of this group; nothing is looked for until somebody wants to go there.
    pub fn of(group: &Group, reader: &Reader, options: &ThawOptions) -> Self {
        Self {
            hierarchies: Hierarchies::here(),
            who: who(reader, options),
            doors: group.control_groups.iter().map(|_| Door::Unknown).collect(),
            made: Vec::new(),
            losses: Vec::new(),
        }
    }

    /// Sends a process that has just been born where it was; `parent`: who has made it, and has been sent already.
    pub fn enter(&mut self, group: &Group, index: usize, parent: Option<usize>) {
        let alive = |index: usize| group.processes.get(index).and_then(Process::alive);
        let Some(wanted) = alive(index).map(|alive| &alive.control_groups) else { return };
        if parent.and_then(alive).is_some_and(|parent| parent.control_groups == *wanted) {
            return;
        }
        self.send(group, wanted, group.processes[index].pid());
    }

    /// Sends somebody who is no member to these control groups.
    pub fn send(&mut self, group: &Group, wanted: &[usize], pid: Pid) {
        let now = proc::parsed(pid, "cgroup", cgroup::parse).unwrap_or_default();
        for record in wanted {
            if !now.iter().any(|membership| group.control_groups[*record].is(membership)) {
                self.join(group, *record, pid.0, "cgroup.procs");
            }
        }
    }

    /// Sends the threads of a process where they were, if that is elsewhere.
    pub fn scatter(&mut self, group: &Group, index: usize) {
        let Some(alive) = group.processes[index].alive() else { return };
        for thread in &alive.threads {
            let elsewhere = thread.control_groups.iter().filter(|record| !alive.control_groups.contains(record));
            for record in elsewhere {
                let unified = group.control_groups[*record].is_unified();
                self.join(group, *record, thread.tid.0, if unified { "cgroup.threads" } else { "tasks" });
            }
        }
    }

    fn join(&mut self, all: &Group, record: usize, id: i32, file: &str) {
        if matches!(self.doors[record], Door::Unknown) {
            self.doors[record] = self.find(all, record).map_or(Door::Shut, Door::Open);
        }
        let Door::Open(folder) = &self.doors[record] else { return };
        let group = &all.control_groups[record];
        let joined = acting(self.who.as_ref()).and_then(|_acting| folder.write(file, id.to_string().as_bytes()));
        if let Err(errno) = joined {
            if errno == Errno::EACCES
                && is_a_mere_scope(group)
                && set_there(all, group, group.names().count()).is_empty()
            {
                return;
            }
            let what = phrase!("it cannot be put into this control group again: {why}", why = errno.desc());
            self.lose(lost_place(group, what));
        }
    }

    /// Looks for a control group, and makes it where it is gone.
    fn find(&mut self, all: &Group, record: usize) -> Option<Folder> {
        let group = &all.control_groups[record];
        match look(&self.hierarchies, group) {
            Look::There(folder) => Some(folder),
            Look::Gone(above, missing) if !missing.iter().any(|name| is_unit(name)) => {
                self.make(all, group, above, &missing)
            }
            other => {
                self.losses.extend(told(all, group, &other));
                None
            }
        }
    }

    /// Makes what is missing of a control group, with what was set there.
    fn make(&mut self, all: &Group, group: &ControlGroup, above: Folder, missing: &[&[u8]]) -> Option<Folder> {
        let mut above = above;
        for (number, name) in missing.iter().enumerate() {
            let made = acting(self.who.as_ref()).and_then(|_acting| above.make(name));
            let is_new = made.is_ok();
            let folder = match made {
                Ok(folder) => folder,
                // Somebody else was first.
                Err(Errno::EEXIST) => above.below(name).ok()?,
                Err(errno) => {
                    let what =
                        phrase!("this control group is gone, and cannot be made again: {why}", why = errno.desc());
                    self.lose(lost_place(group, what));
                    return None;
                }
            };
            if is_new {
                self.set(record_of(all, group, missing.len() - 1 - number), &folder);
                self.made.push(Made(above, name.to_vec()));
            }
            above = folder;
        }
        Some(above)
    }

    /// Sets in a new control group what was set there.
    fn set(&mut self, record: Option<&ControlGroup>, folder: &Folder) {
        let Some(record) = record else { return };
        for setting in &record.settings {
            let set = acting(self.who.as_ref()).and_then(|_acting| setting.restore(folder));
            if let Err(errno) = set {
                let what = phrase!("{name} cannot be set there again: {why}", name = setting.name, why = errno.desc());
                let value = String::from_utf8_lossy(&setting.value).escape_debug().to_string();
                self.lose(lost(record, what, phrase!("what was set there: {value}", value)));
            }
        }
        if !record.unkept.is_empty() {
            let what = phrase!("this control group was gone, and was made again without its limits on single devices");
            self.lose(lost(record, what, Phrase::verbatim(record.unkept.join(", "))));
        }
    }

    fn lose(&mut self, problem: Problem) {
        if !self.losses.contains(&problem) {
            self.losses.push(problem);
        }
    }

    /// What was lost.
    pub fn losses(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.losses)
    }

    /// The group runs: its control groups stay.
    pub fn keep(mut self) {
        self.made.clear();
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for Made(above, name) in self.made.iter().rev() {
            // Whoever has ended is in it until the kernel has done with him.
            const BREATH: Duration = Duration::from_millis(10);
            const PATIENCE: usize = 200;
            let removed = (0..PATIENCE).any(|_| match above.remove(name) {
                Err(Errno::EBUSY) => {
                    thread::sleep(BREATH);
                    false
                }
                _ => true,
            });
            if !removed {
                tracing::warn!(name = %String::from_utf8_lossy(name), "a control group that was made cannot be removed");
            }
        }
    }
}

/// Whose rights it takes: those of who asks, or of the image's owner, where these are less than the engine's.
fn who(reader: &Reader, options: &ThawOptions) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    if trust::is_mighty(reader) {
        return None;
    }
    let asked = options.asker.as_ref().map(|asker| Identity {
        user: asker.user,
        group: asker.group,
        groups: asker.groups.clone(),
    });
    // Whose an image is that does not tell, is not root's: nobody's rights are less than those of nobody.
    const NOBODY: u32 = 65_534;
    let (user, group) = reader.metadata().map_or((NOBODY, NOBODY), |found| (found.uid(), found.gid()));
    asked.or(Some(Identity { user, group, groups: Vec::new() }))
}

fn acting(who: Option<&Identity>) -> Result<Option<Acting>, Errno> {
    who.map(Acting::begin).transpose()
}

fn look<'a>(hierarchies: &Hierarchies, group: &'a ControlGroup) -> Look<'a> {
    let Some((mut folder, names)) = hierarchies.way(group) else { return Look::NoHierarchy };
    for (depth, name) in names.iter().enumerate() {
        folder = match folder.below(name) {
            Ok(next) => next,
            Err(Errno::ENOENT) => return Look::Gone(folder, names[depth..].to_vec()),
            Err(errno) => return Look::Nowhere(errno),
        };
    }
    Look::There(folder)
}

/// The record of the control group so many above this one.
fn record_of<'a>(all: &'a Group, group: &ControlGroup, above: usize) -> Option<&'a ControlGroup> {
    let names: Vec<&[u8]> = group.names().collect();
    let names = &names[..names.len().saturating_sub(above)];
    let path: Vec<u8> = names.iter().flat_map(|name| [b"/", *name].concat()).collect();
    all.control_groups.iter().find(|one| one.controllers == group.controllers && one.path.as_slice() == path)
}

fn lost(group: &ControlGroup, what: Phrase, loss: Phrase) -> Problem {
    Problem::loses(ProblemKind::Limit, what, loss).at(group.shown())
}

fn lost_place(group: &ControlGroup, what: Phrase) -> Problem {
    lost(group, what, phrase!("its place in it: it runs in the control group of the thaw"))
}

/// What is lost where a control group is not there and is not made again.
fn told(all: &Group, group: &ControlGroup, found: &Look<'_>) -> Option<Problem> {
    match found {
        Look::There(_) => None,
        // Everybody is in the root of a hierarchy that is not there.
        Look::NoHierarchy if group.is_root() => None,
        Look::NoHierarchy if group.is_unified() => {
            Some(lost_place(group, phrase!("it was a control group of cgroup v2, which is not mounted here")))
        }
        Look::NoHierarchy => {
            let names = group.controllers.join(", ");
            Some(lost_place(
                group,
                phrase!("it was a control group of cgroup v1 ({names}), which is not mounted here", names),
            ))
        }
        Look::Nowhere(errno) => {
            Some(lost_place(group, phrase!("this control group cannot be looked at: {why}", why = errno.desc())))
        }
        Look::Gone(_, missing) => {
            missing.iter().find(|name| is_unit(name))?;
            unit_gone(all, group, missing)
        }
    }
}

/// A unit of systemd that is gone is not made again.
fn unit_gone(all: &Group, group: &ControlGroup, missing: &[&[u8]]) -> Option<Problem> {
    let what = phrase!("it was the control group of a unit of systemd, which is gone");
    let set = set_there(all, group, missing.len());
    if set.is_empty() {
        return (!is_a_mere_scope(group)).then(|| lost_place(group, what));
    }
    let names = set.join(", ");
    let loss = phrase!("what was set there ({names}): it runs in the control group of the thaw", names);
    Some(lost(group, what, loss))
}

/// Whether a control group is a scope of systemd's, as apps of a desktop and sessions have one, just to be told apart: unless something is
/// set there, nobody misses it.
fn is_a_mere_scope(group: &ControlGroup) -> bool {
    group.names().filter(|name| is_unit(name)).last().is_some_and(|unit| unit.ends_with(b".scope"))
}

/// What was set in a control group and in those above it, so many in all. What is there for those below has no weight of its own.
fn set_there<'a>(all: &'a Group, group: &ControlGroup, levels: usize) -> Vec<&'a str> {
    let records = (0..levels).rev().filter_map(|above| record_of(all, group, above));
    let set = records.flat_map(|record| record.settings.iter().map(|setting| &setting.name).chain(&record.unkept));
    set.map(String::as_str).filter(|name| !name.starts_with("cgroup.")).collect()
}

/// What is known before anybody is born: control groups that are frozen, in which nobody could be built, and what is lost.
pub fn preflight(group: &Group, reader: &Reader, options: &ThawOptions) -> Vec<Problem> {
    let hierarchies = Hierarchies::here();
    let own = proc::parsed(Pid(std::process::id() as i32), "cgroup", cgroup::parse).unwrap_or_default();
    let freezers = Freezers::mounted().unwrap_or_default();
    let who = who(reader, options);
    let alive = || group.processes.iter().filter_map(Process::alive);
    let threads = alive().flat_map(|alive| &alive.threads).flat_map(|thread| &thread.control_groups);
    let mut used: Vec<usize> = alive().flat_map(|alive| &alive.control_groups).chain(threads).copied().collect();
    used.sort_unstable();
    used.dedup();
    let records = used.into_iter().map(|record| &group.control_groups[record]);
    let elsewhere = records.filter(|record| !own.iter().any(|membership| record.is(membership)));
    elsewhere
        .filter_map(|record| match look(&hierarchies, record) {
            Look::There(_) => frozen(&freezers, record, who.as_ref()),
            other => told(group, record, &other),
        })
        .collect()
}

/// Nobody can be built in a control group that is frozen: who goes there stands still until it goes on.
fn frozen(freezers: &Freezers, record: &ControlGroup, who: Option<&Identity>) -> Option<Problem> {
    let freezer = if record.is_unified() { Freezer::Unified } else { Freezer::Old };
    let membership = CgroupMembership {
        hierarchy: u32::from(!record.is_unified()),
        controllers: record.controllers.clone(),
        path: record.path.to_vec(),
    };
    let found = freezers.within(&[membership], freezer).filter(control_group::ControlGroup::is_frozen)?;
    let acting = acting(who).ok()?;
    // Who may not go there is not kept from anything by it.
    files::may_access(&found.folder.join("cgroup.procs"), libc::W_OK).ok()?;
    drop(acting);
    let what = phrase!("this control group, in which the group was, is frozen: nobody could be built in it");
    let problem = Problem::blocks(ProblemKind::Process, what).at(record.shown());
    Some(problem.way_out(phrase!(
        "Let it go on first, as who has frozen it does: dormouse resume, systemctl thaw, or 0 in its cgroup.freeze"
    )))
}
