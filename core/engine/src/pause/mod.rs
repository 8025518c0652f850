//! Pause: a group stands still in memory, and resume: it goes on.
//!
//! # How
//!
//! In this order, and the answer says which it was ([`PausedBy`]):
//!
//! 1. where control groups hold the members and nobody else, they are frozen ([`freezer`]): the processes do not notice, and
//!    nor do their parents. A group that is a unit of systemd is frozen by systemd, which wants to know ([`Units`]);
//!    else the file `cgroup.freeze` is written; else the one of cgroup v1;
//! 2. everywhere else each process is stopped with SIGSTOP ([`signal`]).
//!
//! # What is remembered
//!
//! A pause survives the end of whoever made it. A frozen control group is its own memory. Who was stopped with SIGSTOP looks
//! as one that a person has stopped with Ctrl-Z, who must stay stopped at the resume: so the pids and start times of those that
//! were running are written down ([`record`]) before the first signal.

mod freezer;
mod reclaim;
mod record;
mod signal;
mod standing;
mod units;

use std::collections::HashSet;
use std::path::Path;

use dormouse_wire::{Paused, PausedBy, Phrase, Pid, Problem, ProblemKind, Resumed, phrase};

use crate::survey::born::Born;
use crate::survey::control_group::{ControlGroup, Freezer, Hierarchies};
use crate::survey::deciders;
use crate::survey::select::{self, named};
use crate::{PauseError, PauseOptions, ResumeError};
use record::{Record, Remembered};
use standing::{Standing, living};
pub use units::{Units, WithoutUnits};

/// Holds a group still.
pub fn pause(options: &PauseOptions<'_>) -> Result<Paused, PauseError> {
    let members = || select::members(&seeds(options), &Born::default());
    let first = living(&members().map_err(|problem| PauseError::Refused(vec![problem]))?);
    let now = PausedNow::read(options.records);
    if let Some(problem) = not_to_be_paused(options.pid, &first, &now) {
        return Err(PauseError::Refused(vec![problem]));
    }
    deciders::nobody_decides(&first).map_err(|problem| PauseError::Refused(vec![problem]))?;
    let failed = |problem| PauseError::Failed(Box::new(problem));
    let by = match freezer::freeze(&members, options.units) {
        Some(by) => by,
        None => signal::stop(options.pid, &members, options.records).map(|()| PausedBy::Signal).map_err(failed)?,
    };
    let paused = living(&members().unwrap_or(first));
    Ok(Paused {
        processes: paused.iter().map(|pid| named(*pid)).collect(),
        by,
        reclaimed: options.reclaim.then(|| reclaim::reclaim(&paused)),
    })
}

/// Lets a paused group go on.
pub fn resume(options: &PauseOptions<'_>) -> Result<Resumed, ResumeError> {
    let records = Record::all(options.records);
    let members = match select::members(&seeds(options), &Born::default()) {
        Ok(members) => members,
        // Whoever the pause began from may have ended since: its record knows the others.
        Err(_) if records.iter().any(|record| record.group.pid == options.pid) => Vec::new(),
        Err(problem) => return Err(ResumeError::Refused(vec![problem])),
    };
    let now = PausedNow::read(options.records);
    let held = living(&members).into_iter().filter(|pid| now.by(*pid).is_some());
    let mut held: Vec<Pid> = held.chain(signal::orphans(&records, options.pid, &members)).collect();
    held.dedup();
    if held.is_empty() {
        return Err(ResumeError::Refused(vec![is_not_paused(options.pid, &members)]));
    }
    let processes = held.iter().map(|pid| named(*pid)).collect();
    let failed = |problem| ResumeError::Failed(Box::new(problem));
    // A frozen process would hear of SIGCONT only later, and its parent might go on before it.
    let mut by: Vec<PausedBy> =
        freezer::thaw(&members, options.units).map_err(|problem| ResumeError::Refused(vec![problem]))?;
    if signal::go_on(&held, records).map_err(failed)? {
        by.push(PausedBy::Signal);
    }
    Ok(Resumed { processes, by })
}

/// What holds a process still, if Dormouse or another has paused it. `records` is the folder of [`PauseOptions`].
pub fn paused(pid: Pid, records: &Path) -> Option<PausedBy> {
    PausedNow::read(records).by(pid)
}

/// Who is paused: for those who ask about many processes.
#[derive(Debug, Default)]
pub struct PausedNow {
    hierarchies: Hierarchies,
    stopped: HashSet<Remembered>,
}

impl PausedNow {
    /// Reads the records, and where the control groups are.
    pub fn read(records: &Path) -> Self {
        let stopped = Record::all(records).into_iter().flat_map(|record| record.stopped).collect();
        Self { hierarchies: Hierarchies::mounted().unwrap_or_default(), stopped }
    }

    /// What holds a process still. A unit that systemd has frozen looks as any other frozen control group.
    pub fn by(&self, pid: Pid) -> Option<PausedBy> {
        let frozen = self.hierarchies.all_of(pid).into_iter().find(ControlGroup::is_frozen);
        if let Some(group) = frozen {
            return Some(match group.freezer {
                Freezer::Unified => PausedBy::ControlGroup,
                Freezer::Old => PausedBy::OldFreezer,
            });
        }
        let is_ours = !self.stopped.is_empty() && Remembered::of(pid).is_some_and(|one| self.stopped.contains(&one));
        (is_ours && standing::of(pid).is_still()).then_some(PausedBy::Signal)
    }
}

fn seeds(options: &PauseOptions<'_>) -> Vec<Pid> {
    std::iter::once(options.pid).chain(options.others.iter().copied()).collect()
}

fn not_to_be_paused(pid: Pid, living: &[Pid], now: &PausedNow) -> Option<Problem> {
    let selected = |what: Phrase| Problem::blocks(ProblemKind::Selection, what).at(phrase!("pid {pid}", pid));
    if living.is_empty() {
        return Some(
            selected(phrase!("it has ended, and its parent has not asked for it yet"))
                .way_out(phrase!("Choose another process")),
        );
    }
    if living.iter().all(|pid| now.by(*pid).is_some()) {
        return Some(
            selected(phrase!("it is paused already")).way_out(phrase!("To go on: dormouse resume {pid}", pid)),
        );
    }
    let is_held = |pid: &Pid| now.by(*pid).is_some() || standing::of(*pid) == Standing::Stopped;
    living.iter().all(is_held).then(|| {
        selected(phrase!("it is stopped already, by Ctrl-Z or another signal")).way_out(phrase!("Leave it as it is"))
    })
}

fn is_not_paused(pid: Pid, members: &[Pid]) -> Problem {
    let is_stopped = members.iter().any(|pid| standing::of(*pid) == Standing::Stopped);
    let (what, way_out) = if is_stopped {
        (
            phrase!("Dormouse has not paused it: something else has stopped it"),
            phrase!("Continue it with `fg` in its shell, or with `kill -CONT`"),
        )
    } else {
        (phrase!("it is not paused"), phrase!("Look with `ps` whether it is the process you mean"))
    };
    Problem::blocks(ProblemKind::Selection, what).at(phrase!("pid {pid}", pid)).way_out(way_out)
}
