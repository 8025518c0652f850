//! The freezers of control groups, which no process notices. They are taken where the control groups hold the members
//! and nobody else: a freezer holds all still that is in it.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use dormouse_wire::{PausedBy, Pid, Problem, ProblemKind, phrase};

use super::standing::{self, Standing};
use super::units::Units;
use crate::proc;
use crate::proc::cgroup;
use crate::survey::control_group::{ControlGroup, Freezer, Hierarchies};
use crate::survey::select::named;

/// How long a freezer may take: a process that waits for a disk or a server stands still only after that.
const PATIENCE: Duration = Duration::from_secs(5);
const GLANCE: Duration = Duration::from_millis(1);

/// Freezes the control groups of the members, if that holds nobody else still. None: it does not, or they do not freeze; then
/// all runs on.
pub fn freeze(members: &dyn Fn() -> Result<Vec<Pid>, Problem>, units: &dyn Units) -> Option<PausedBy> {
    let hierarchies = Hierarchies::mounted().ok()?;
    [Freezer::Unified, Freezer::Old].into_iter().find_map(|freezer| {
        let groups = fitting(&hierarchies, &members().ok()?, freezer)?;
        let mut frozen = Frozen { units, groups: Vec::new() };
        for group in &groups {
            if let Err(error) = frozen.add(group) {
                tracing::debug!(folder = %group.folder.display(), %error, "a control group does not freeze");
                return None;
            }
        }
        // Somebody may have come into a group, or left it, until it stood still.
        (fitting(&hierarchies, &members().ok()?, freezer)? == groups).then(|| frozen.keep(freezer))
    })
}

/// The control groups to freeze: every member is in one of them or below, and nobody else is.
pub fn fitting(hierarchies: &Hierarchies, members: &[Pid], freezer: Freezer) -> Option<Vec<ControlGroup>> {
    let living = standing::living(members);
    let members: HashSet<Pid> = members.iter().copied().collect();
    let mut groups: Vec<ControlGroup> = Vec::new();
    for pid in living {
        let Some(group) = hierarchies.of(pid, freezer) else {
            if standing::of(pid) == Standing::Ended {
                continue;
            }
            return None;
        };
        if groups.iter().any(|known| group.folder.starts_with(&known.folder)) {
            continue;
        }
        if (freezer == Freezer::Old && has_scattered_threads(pid)) || !group.holds_only(&members) {
            return None;
        }
        // systemd freezes whole units, whose processes may lie in groups further down.
        let unit = group.and_above().find(|above| above.unit().is_some());
        let group = unit.filter(|unit| unit.holds_only(&members)).unwrap_or(group);
        groups.retain(|known| !known.folder.starts_with(&group.folder));
        groups.push(group);
    }
    groups.sort_by(|a, b| a.folder.cmp(&b.folder));
    (!groups.is_empty()).then_some(groups)
}

/// In cgroup v1 each thread may be in a group of its own.
fn has_scattered_threads(pid: Pid) -> bool {
    // Whoever ends meanwhile is nowhere any more.
    let Ok(leader) = proc::parsed(pid, "cgroup", cgroup::parse) else { return false };
    let elsewhere = |tid| proc::parsed_thread(pid, tid, "cgroup", cgroup::parse).is_ok_and(|found| found != leader);
    proc::list_threads(pid).unwrap_or_default().into_iter().any(elsewhere)
}

/// Control groups that have been frozen. Dropped, they are thawed.
struct Frozen<'a> {
    units: &'a dyn Units,
    /// Each, and whether systemd has frozen it.
    groups: Vec<(ControlGroup, bool)>,
}

impl Frozen<'_> {
    /// Freezes one more, and waits until it stands still.
    fn add(&mut self, group: &ControlGroup) -> io::Result<()> {
        if group.is_told_to_freeze() {
            return Ok(());
        }
        let by_unit = by_unit(group, |unit, pid| self.units.freeze(unit, &group.folder, pid));
        if !by_unit {
            tell(group, true)?;
        }
        self.groups.push((group.clone(), by_unit));
        let begin = Instant::now();
        while !group.stands_still() {
            if begin.elapsed() > PATIENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(GLANCE);
        }
        Ok(())
    }

    fn keep(mut self, freezer: Freezer) -> PausedBy {
        let groups = std::mem::take(&mut self.groups);
        match freezer {
            Freezer::Old => PausedBy::OldFreezer,
            Freezer::Unified if groups.iter().all(|(_, by_unit)| *by_unit) => PausedBy::Systemd,
            Freezer::Unified => PausedBy::ControlGroup,
        }
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        for (group, _) in self.groups.iter().rev() {
            if let Err(error) = let_go(group, self.units) {
                tracing::warn!(folder = %group.folder.display(), %error, "a control group stays frozen");
            }
        }
    }
}

/// Thaws the control groups that hold members still; answers what had frozen them. A problem: a group holds others still too.
/// Then nothing has changed.
pub fn thaw(members: &[Pid], units: &dyn Units) -> Result<Vec<PausedBy>, Problem> {
    let Ok(hierarchies) = Hierarchies::mounted() else { return Ok(Vec::new()) };
    let known: HashSet<Pid> = members.iter().copied().collect();
    let mut frozen: Vec<ControlGroup> = Vec::new();
    for group in members.iter().flat_map(|pid| hierarchies.all_of(*pid)).filter(ControlGroup::is_frozen) {
        for group in group.and_above().filter(ControlGroup::is_told_to_freeze) {
            if !frozen.contains(&group) {
                holds_only_members(&group, &known, members)?;
                frozen.push(group);
            }
        }
    }
    let mut by = Vec::new();
    for group in frozen {
        let way = let_go(&group, units).map_err(|error| {
            let what = phrase!("its control group cannot be thawed: {why}", why = error);
            let problem = Problem::blocks(ProblemKind::Privilege, what).at(group.folder.display().to_string());
            problem.way_out(phrase!("Run Dormouse as who has paused it"))
        })?;
        if !by.contains(&way) {
            by.push(way);
        }
    }
    Ok(by)
}

fn holds_only_members(group: &ControlGroup, known: &HashSet<Pid>, members: &[Pid]) -> Result<(), Problem> {
    let inside = group.processes().unwrap_or_default();
    let Some(other) = inside.iter().filter(|pid| !known.contains(pid)).min() else { return Ok(()) };
    let what = phrase!(
        "its control group {folder} is frozen, and holds {named} still too",
        folder = group.folder.display(),
        named = named(*other)
    );
    let problem = Problem::blocks(ProblemKind::Family, what);
    let problem = members.first().map_or(problem.clone(), |first| problem.of(&named(*first)));
    Err(problem.way_out(phrase!(
        "Resume the process that all of them descend from, or ask whoever has frozen the control group"
    )))
}

/// Thaws one group.
fn let_go(group: &ControlGroup, units: &dyn Units) -> io::Result<PausedBy> {
    let by_unit = by_unit(group, |unit, pid| units.thaw(unit, &group.folder, pid));
    if by_unit && !group.is_told_to_freeze() {
        return Ok(PausedBy::Systemd);
    }
    tell(group, false)?;
    Ok(match group.freezer {
        Freezer::Unified => PausedBy::ControlGroup,
        Freezer::Old => PausedBy::OldFreezer,
    })
}

/// Whether the group is a unit, and its manager has done what was asked.
fn by_unit(group: &ControlGroup, ask: impl FnOnce(&str, Pid) -> Result<(), String>) -> bool {
    let (Freezer::Unified, Some(unit)) = (group.freezer, group.unit()) else { return false };
    let Some(pid) = group.processes().ok().and_then(|processes| processes.into_iter().min()) else { return false };
    match ask(unit, pid) {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(unit, error, "the unit is not frozen or thawed by its manager");
            false
        }
    }
}

fn tell(group: &ControlGroup, freeze: bool) -> io::Result<()> {
    let (file, word) = match (group.freezer, freeze) {
        (Freezer::Unified, true) => ("cgroup.freeze", "1"),
        (Freezer::Unified, false) => ("cgroup.freeze", "0"),
        (Freezer::Old, true) => ("freezer.state", "FROZEN"),
        (Freezer::Old, false) => ("freezer.state", "THAWED"),
    };
    fs::write(group.folder.join(file), word)
}
