//! Freeze: stop, survey, judge, capture, seal, end.
//!
//! Whatever fails before the seal, the group runs on ([`Stopped`] when dropped) and no file stays
//! ([`Writer`](crate::image::Writer) when dropped).

mod capsule;
mod check;
mod entry;
mod keeping;
mod mapped_files;
mod memory;
mod origin;
mod pages;
mod record;
mod release;
mod restart;
mod rings;
mod stopped;
mod tasks;
mod terminal;
mod turn;
mod verdict;
mod vfork;
mod waiting;

use std::cell::Cell;
use std::time::Instant;

use dormouse_wire::{ByteSize, Frozen, Label, Phase, Problem, ProblemKind, Progress, phrase};

use crate::image::{PageBuffer, Sealed, SectionKind, Writer};
use crate::resource::fd::network::hold::Hold;
use crate::resource::fd::network::tcp::{self, kept};
use crate::resource::group::Group;
use crate::resource::namespace::{Namespaces, Seen};
use crate::resource::owners::{Known, Names};
use crate::survey::files::OpenFiles;
use crate::survey::found::{Found, Unseen};
use crate::survey::in_flight::Look;
use crate::survey::{belongs, control_group, deciders, judge, select};
use crate::{Asker, FreezeError, FreezeOptions, Selection, pid_namespace};
pub use check::{check, verdict};
use keeping::Keeper;
use record::Recorded;
use stopped::Stopped;
use turn::{Turn, in_turn};
use verdict::Verdict;

impl From<Problem> for FreezeError {
    fn from(problem: Problem) -> Self {
        if problem.kind == ProblemKind::Cancelled { Self::Cancelled } else { Self::Failed(Box::new(problem)) }
    }
}

/// Puts a group to sleep in a file.
pub fn freeze(selection: &Selection, options: &FreezeOptions, progress: &dyn Progress) -> Result<Frozen, FreezeError> {
    crate::kernel::limits::raise_open_files();
    in_turn(|turn| freeze_now(selection, options, progress, turn))
}

fn freeze_now(
    selection: &Selection,
    options: &FreezeOptions,
    progress: &dyn Progress,
    turn: &Turn,
) -> Result<Frozen, FreezeError> {
    cancelled(progress)?;
    let asker = selection.asker.as_ref();
    let mut keeper = Keeper::begin(options, asker, progress);
    keeper.ahead(selection)?;
    let known = Known::now(&select::members(&selection.seeds(), &selection.born).unwrap_or_default());
    progress.begins(Phase::Stopping, 0);
    let (begin, mut stopped) = (Instant::now(), Stopped::default());
    let found = stop(selection, Look::Closely, &mut stopped);
    turn.note(&stopped);
    let Found { processes, mut open, sharers, inner } = found?;
    progress.begins(Phase::Recording, 0);
    let mut verdict = Verdict::new(options.accept_losses);
    verdict.note(judge::judge(&processes, &open, &sharers));
    verdict.note(inner.judge(asker));
    verdict.note(belongs::sockets(asker, &open));
    let namespaces = capsule::look(asker, &processes, &open)?;
    verdict.note(namespaces.iter().flat_map(|(_, problems)| problems.clone()).collect());
    if verdict.refuses() {
        verdict.note(record::said(&mut stopped, &processes, &verdict));
        return Err(verdict.refusal());
    }

    let mut writer = writer(options, asker)?;
    let mut hold = kept::hold_off(&open.facts)?;
    let mut recorded =
        record::record(&mut stopped, &processes, &mut open, inner, (writer.pages(), &keeper), &mut verdict, progress)?;
    keeper.keep_open(&mut recorded.group.open_files, &open.facts);
    recorded.group.hold = hold.as_ref().map(|hold| hold.id().to_owned());
    sections(&mut writer, &recorded, &verdict.problems, options.label.as_ref())?;
    last_sections(&mut writer, namespaces.map(|(seen, _)| seen), &mut recorded.group, (&open, &known))?;
    cancelled(progress)?;

    progress.begins(Phase::Sealing, 0);
    if let Some(hold) = hold.as_mut().filter(|_| !options.leave_running) {
        hold.prepare().map_err(kept::not_held)?;
    }
    keeper.refer(&recorded.origin.id, &options.image);
    let synced = writer.sync().map_err(|error| error.problem())?;
    cancelled(progress)?;
    let sealed = {
        let _acting = asker.map(Asker::acting).transpose()?;
        synced.seal().map_err(|error| error.problem())?
    };
    let mut frozen = told(sealed, &recorded, begin, verdict.problems);
    frozen.losses.extend(keeper.told());
    if !options.leave_running {
        frozen.held = hold.as_ref().map_or(0, Hold::count);
        recorded.group.terminal.iter().for_each(terminal::leave_usable);
        let lost = end(stopped, &open, hold, &frozen)?;
        frozen.losses.extend(lost);
    }
    Ok(frozen)
}

/// The image that is to be, with the rights of whoever asks.
fn writer(options: &FreezeOptions, asker: Option<&Asker>) -> Result<Writer, Problem> {
    let _acting = asker.map(Asker::acting).transpose()?;
    Writer::compressing(&options.image, options.compression).map_err(|error| error.problem())
}

/// What there is to tell of a freeze that began then.
fn told(sealed: Sealed, recorded: &Recorded, begin: Instant, losses: Vec<Problem>) -> Frozen {
    let processes = &recorded.group.processes;
    Frozen {
        image: sealed.path,
        processes: processes.iter().map(crate::resource::group::Process::shown).collect(),
        threads: processes.iter().filter_map(|process| process.alive()).map(|alive| alive.threads.len()).sum(),
        memory: ByteSize(recorded.bytes),
        size: sealed.size,
        stopped_for: begin.elapsed(),
        held: 0,
        losses,
    }
}

/// What comes last: what the namespaces hold that the group has for itself, and what the users and groups of it all are called.
fn last_sections(
    writer: &mut Writer,
    seen: Option<Seen>,
    group: &mut Group,
    (open, known): (&OpenFiles, &Known),
) -> Result<(), FreezeError> {
    let mut namespaces = seen.map(|seen| namespaces_of(writer, seen, group)).transpose()?;
    let names = Names::of(group, namespaces.as_mut(), open.facts.files.iter().map(|file| &file.owner), known);
    Ok(writer.section(SectionKind::Owners, &names).map_err(|error| error.problem())?)
}

/// What the namespaces hold that the group has for itself.
fn namespaces_of(writer: &mut Writer, seen: Seen, group: &Group) -> Result<Namespaces, FreezeError> {
    let record = seen.capture(writer.pages(), &mut PageBuffer::new())?;
    let problems = pid_namespace::members(&record, group);
    if !problems.is_empty() {
        return Err(FreezeError::Refused(problems));
    }
    writer.section(SectionKind::Namespaces, &record).map_err(|error| error.problem())?;
    Ok(record)
}

/// What is known of the group; what its namespaces hold comes last.
fn sections(
    writer: &mut Writer,
    recorded: &Recorded,
    losses: &[Problem],
    label: Option<&Label>,
) -> Result<(), Problem> {
    writer.section(SectionKind::Group, &recorded.group).map_err(|error| error.problem())?;
    writer.section(SectionKind::Origin, &recorded.origin).map_err(|error| error.problem())?;
    writer.section(SectionKind::Losses, losses).map_err(|error| error.problem())?;
    label.map_or(Ok(()), |label| writer.section(SectionKind::Label, label).map_err(|error| error.problem()))
}

/// Ends the group, whose image is sealed; answers what was lost by that. One that ends with this process is ended from outside.
fn end(stopped: Stopped, open: &OpenFiles, hold: Option<Hold>, frozen: &Frozen) -> Result<Option<Problem>, Problem> {
    if pid_namespace::ends_from_outside() {
        tcp::forget(&open.facts);
        return Err(pid_namespace::fall_asleep(frozen));
    }
    stopped.end();
    // From here on the sockets that are kept vanish without a packet, whatever becomes of the engine.
    tcp::forget(&open.facts);
    let failed = hold.and_then(|hold| hold.stay().err());
    Ok(failed.map(|errno| {
        let what = phrase!("the other ends of its connections cannot be held off any more: {why}", why = errno.desc());
        Problem::loses(ProblemKind::Socket, what, phrase!("these connections: the programs find them reset"))
    }))
}

/// Stops the selected processes, then whoever cannot be cut from them, until nobody is missing.
fn stop(selection: &Selection, queues: Look, stopped: &mut Stopped) -> Result<Found, FreezeError> {
    let found = Found::of(selection, queues, |seeds| {
        let looked = Cell::new(false);
        let members = || {
            let members = select::members(seeds, &selection.born)?;
            if let Some(asker) = &selection.asker {
                belongs::all_to(asker, &members)?;
            }
            // Whoever is frozen does not stop: once is enough, for the others stand still from then on.
            if !looked.replace(true) {
                control_group::none_is_frozen(&members)?;
                deciders::nobody_decides(&members)?;
            }
            Ok(members)
        };
        stopped.stop(&members)?;
        Ok(stopped.processes.iter().map(|process| process.pid).collect())
    });
    found.map_err(|unseen| match unseen {
        Unseen::Refused(problems) => FreezeError::Refused(problems),
        Unseen::Failed(problem) => problem.into(),
    })
}

fn cancelled(progress: &dyn Progress) -> Result<(), FreezeError> {
    if progress.cancelled() { Err(FreezeError::Cancelled) } else { Ok(()) }
}
