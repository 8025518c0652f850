//! Freeze: stop, survey, judge, capture, seal, end.
//!
//! Whatever fails before the seal, the group runs on ([`Stopped`] when dropped) and no file stays
//! ([`Writer`](crate::image::Writer) when dropped).

mod memory;
mod origin;
mod pages;
mod record;
mod restart;
mod select;
mod stopped;
mod tasks;
mod terminal;
mod verdict;
mod vfork;
mod waiting;

use std::time::Instant;

use dormouse_wire::{ByteSize, Frozen, Phase, Problem, ProblemKind, Progress};

use crate::image::{SectionKind, Writer};
use crate::kernel::threads;
use crate::survey::collect::ProcessFacts;
use crate::survey::connect::Sharer;
use crate::survey::files::OpenFiles;
use crate::survey::{collect, connect, files, judge};
use crate::{FreezeError, FreezeOptions, Selection};
use stopped::Stopped;
use verdict::Verdict;

impl From<Problem> for FreezeError {
    fn from(problem: Problem) -> Self {
        if problem.kind == ProblemKind::Cancelled { Self::Cancelled } else { Self::Failed(Box::new(problem)) }
    }
}

/// Puts a group to sleep in a file.
pub fn freeze(selection: &Selection, options: &FreezeOptions, progress: &dyn Progress) -> Result<Frozen, FreezeError> {
    crate::kernel::limits::raise_open_files();
    progress.begins(Phase::Stopping, 0);
    let begin = Instant::now();
    let mut survey = Survey::of(selection)?;
    progress.begins(Phase::Recording, 0);
    let mut verdict = Verdict::new(options.accept_losses);
    verdict.add(judge::judge(&survey.processes, &survey.open, &survey.sharers))?;

    let mut writer = Writer::create(&options.image).map_err(|error| error.problem())?;
    let Survey { stopped, processes, open, .. } = &mut survey;
    let recorded = record::record(stopped, processes, open, writer.pages(), &mut verdict, progress)?;
    let group = &recorded.group;
    writer.section(SectionKind::Group, group).map_err(|error| error.problem())?;
    writer.section(SectionKind::Origin, &recorded.origin).map_err(|error| error.problem())?;
    writer.section(SectionKind::Losses, &verdict.problems).map_err(|error| error.problem())?;
    cancelled(progress)?;

    progress.begins(Phase::Sealing, 0);
    let synced = writer.sync().map_err(|error| error.problem())?;
    cancelled(progress)?;
    let sealed = synced.seal().map_err(|error| error.problem())?;
    if !options.leave_running {
        group.terminal.iter().for_each(terminal::leave_usable);
        survey.stopped.end();
    }
    Ok(Frozen {
        image: sealed.path,
        processes: group.processes.iter().map(crate::resource::group::Process::shown).collect(),
        threads: group.processes.iter().filter_map(|process| process.alive()).map(|alive| alive.threads.len()).sum(),
        memory: ByteSize(recorded.bytes),
        size: sealed.size,
        stopped_for: begin.elapsed(),
        losses: verdict.problems,
    })
}

/// A stopped group, and what can be seen of it.
struct Survey {
    stopped: Stopped,
    processes: Vec<ProcessFacts>,
    open: OpenFiles,
    sharers: Vec<Sharer>,
}

impl Survey {
    /// Stops the selected processes, then whoever cannot be cut from them, until nobody is missing.
    fn of(selection: &Selection) -> Result<Self, FreezeError> {
        let mut seeds = vec![selection.pid];
        let mut stopped = Stopped::default();
        loop {
            stopped = stopped.stop(&|| select::members(&seeds))?;
            let collected = threads::each(&stopped.processes, |process| {
                collect::process(process.pid).map_err(|error| unreadable(&error).of(&process.shown()))
            });
            let processes = collected.into_iter().collect::<Result<Vec<_>, _>>()?;
            let open = files::collect(&processes).map_err(FreezeError::Refused)?;
            let sharers = connect::sharers(&processes);
            let joined = if selection.tree_only {
                Vec::new()
            } else {
                [connect::joined(&open, &sharers), connect::orphans(&processes)].concat()
            };
            if joined.is_empty() {
                return Ok(Self { stopped, processes, open, sharers });
            }
            seeds.extend(joined);
        }
    }
}

fn unreadable(error: &crate::proc::ProcError) -> Problem {
    Problem::blocks(ProblemKind::Process, error.to_string()).way_out("Try again")
}

fn cancelled(progress: &dyn Progress) -> Result<(), FreezeError> {
    if progress.cancelled() { Err(FreezeError::Cancelled) } else { Ok(()) }
}
