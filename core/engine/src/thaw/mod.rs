//! Thaw: verify, preflight, open the files, build the tree with its memory, give the rest back, let go.
//!
//! Whatever fails, every half-built process is gone ([`Tree`](tree::Tree) when dropped; the kernel ends them when the
//! engine is killed), and the image stays.

mod birth;
mod blueprint;
mod consistent;
mod control_groups;
mod fill;
mod filters;
mod finish;
mod hard_limits;
mod hold;
mod home;
mod huge_pages;
mod inner;
mod inner_mounts;
mod late;
mod numbers;
mod objects;
mod owners;
mod parts;
mod processor;
mod relations;
mod release;
mod segments;
mod sharing;
mod space;
mod stand_ins;
mod standins;
mod stops;
mod system_v;
mod terminals;
mod tree;
mod trust;
mod vdsos;
mod watches;
mod zombies;

use std::path::Path;

use dormouse_wire::{Phase, Phrase, Pid, Problem, ProblemKind, Progress, Severity, Thawed, phrase};

pub use blueprint::preflight;
pub use hold::{hold_connections, let_connections_go};
pub use owners::owners;

use crate::image::Reader;
use crate::resource::fd::message_queue;
use crate::resource::fd::network::tcp::kept::{self, Kept};
use crate::resource::group::{Group, Process};
use crate::resource::memory::segment::Made;
use crate::resource::system_v::Made as Object;
use crate::{ThawError, ThawOptions};

impl From<Problem> for ThawError {
    fn from(problem: Problem) -> Self {
        if problem.kind == ProblemKind::Cancelled { Self::Cancelled } else { Self::Failed(Box::new(problem)) }
    }
}

/// Brings a group back from a file.
///
/// The work is done in a thread of its own: it takes on other identities and a namespace for clocks, which must not
/// stay with the caller.
pub fn thaw(image: &Path, options: &ThawOptions, progress: &dyn Progress) -> Result<Thawed, ThawError> {
    std::thread::scope(|scope| {
        let failed = |what: Phrase| Err(Problem::blocks(ProblemKind::Process, what).into());
        // Generations are built one inside the other.
        let builder = std::thread::Builder::new().stack_size(32 << 20);
        match builder.spawn_scoped(scope, || bring_back(image, options, progress)) {
            Ok(worker) => {
                worker.join().unwrap_or_else(|_| failed(phrase!("the engine failed while it built the group")))
            }
            Err(error) => failed(phrase!("the engine has no thread to build the group with: {why}", why = error)),
        }
    })
}

fn bring_back(image: &Path, options: &ThawOptions, progress: &dyn Progress) -> Result<Thawed, ThawError> {
    crate::kernel::limits::raise_open_files();
    progress.begins(Phase::Checking, 0);
    let reader = match &options.asker {
        Some(asker) => asker.open(image)?,
        None => Reader::open(image).map_err(|error| error.problem())?,
    };
    let (mut group, mut problems) = blueprint::group(&reader, options)?;
    problems.extend(in_the_way(&mut group, &reader, options));
    if problems.iter().any(|problem| problem.severity == Severity::Blocks) {
        return Err(ThawError::Refused(problems));
    }

    progress.begins(Phase::Building, 0);
    let vdsos = vdsos::Vdsos::of(&mut group)?;
    let segments = segments::make(&group, &reader)?;
    let (queues, mut nameless) = message_queue::make(&group.open_files)?;
    // Its control groups behind the tree when all is dropped: one in which somebody is cannot be removed.
    let (inner, mut places) = homes(&mut group, &reader, options)?;
    let mut objects = objects::Objects::make(&group, &reader, &inner, options)?;
    let mut kept = Kept::of(&group.open_files, |id| objects.open_file(id))?;
    nameless.iter_mut().for_each(message_queue::Made::remove_again);
    let mut losses = [problems, objects.losses.clone()].concat();
    losses.extend(blueprint::own_pids(options).into_iter().chain(inner.losses.iter().cloned()));
    losses.extend(group.clocks.restore());
    let way = late::Way::open(&objects, &group)?;
    let mut tree = tree::Tree::build(&group, &vdsos, &objects, &reader, (&inner, &mut places), progress)?;
    places.losses().into_iter().for_each(|lost| add(&mut losses, lost));
    late::restore(&mut tree, &group, &mut objects, &reader, &inner, options, &way)?;
    relations::restore(&mut tree, &group)?;
    terminals::restore(&mut tree, &group, &objects)?;
    zombies::restore(&mut tree, &group, &inner)?;
    stops::restore(&mut tree, &group)?;
    losses.extend(finish::finish(&mut tree, &group, &objects, &inner, trust::is_mighty(&reader))?);
    objects.seal(&group)?;
    cancelled(progress)?;
    kept.start()?;
    objects.start(&group, &inner)?;
    let lent = terminals::lend(&group, options)?;
    segments::remove_again(&segments, &group)?;
    let used = system_v::restore(&group)?;
    release::release(tree, &group, &objects, || kept.take_over(group.hold.as_deref()))?;
    places.keep();
    objects.keep();
    kept.let_go(group.hold.as_deref());
    segments.into_iter().for_each(Made::keep);
    used.into_iter().for_each(Object::keep);
    queues.into_iter().for_each(message_queue::Made::keep);
    if let Some(lent) = lent {
        lent.keep();
    }
    Ok(woken(&reader, &group, options, losses))
}

/// What is told of a group that runs; its image is noted as one that has been woken.
fn woken(reader: &Reader, group: &Group, options: &ThawOptions, losses: Vec<Problem>) -> Thawed {
    if let Err(error) = reader.note_woken() {
        tracing::warn!(%error, "that the image has been woken cannot be noted");
    }
    Thawed {
        image: reader.path().to_owned(),
        processes: group.processes.iter().map(Process::shown).collect(),
        roots: children(group),
        foreground: terminals::job(group, options),
        kept: stand_ins::names(group),
        losses,
    }
}

/// What stands in the way once connections are given up and copies chosen as the options say, and what is lost by that.
fn in_the_way(group: &mut Group, reader: &Reader, options: &ThawOptions) -> Vec<Problem> {
    let mut problems = kept::give_up(&mut group.open_files, group.hold.as_deref(), options.reset_connections);
    let chosen = stand_ins::choose(group, reader, options, stand_ins::How::Make);
    problems.extend(blueprint::problems(group, reader, options));
    stand_ins::say_remedies(&mut problems, group, reader, options);
    problems.extend(chosen);
    problems
}

/// The namespaces within the group, with what is in them looked at, and its control groups, each made when somebody goes there.
fn homes(
    group: &mut Group,
    reader: &Reader,
    options: &ThawOptions,
) -> Result<(inner::InnerMade, control_groups::Places), ThawError> {
    let mut inner = inner::make(group, reader, options)?;
    stand_ins::choose_within(group, &inner, reader, options)?;
    blueprint::look_within(group, &inner, reader)?;
    let mut places = control_groups::Places::of(group, reader, options);
    inner.root(group, &mut places)?;
    Ok((inner, places))
}

/// What is not told already.
fn add(losses: &mut Vec<Problem>, lost: Problem) {
    if !losses.contains(&lost) {
        losses.push(lost);
    }
}

fn cancelled(progress: &dyn Progress) -> Result<(), ThawError> {
    if progress.cancelled() { Err(ThawError::Cancelled) } else { Ok(()) }
}

/// The processes that are the engine's own children.
fn children(group: &Group) -> Vec<Pid> {
    let own = |process: &&Process| {
        process.family.parent.is_none()
            && standins::led_by(group, process).is_none()
            && standins::dead_leader(group, process).is_none()
    };
    group.processes.iter().filter(own).map(Process::pid).collect()
}
