//! Who decides whether others may open files, fanotify(7): while such a process stands still, all of them wait for it, and perhaps the whole
//! system; Dormouse too, where it opens such a file.

use dormouse_wire::{Pid, Problem, ProblemKind, phrase};

use super::files::OpenFiles;
use super::select::named;
use crate::kernel::kcmp::{Owners, Shared};
use crate::proc::fdinfo::{self, FdDetail};
use crate::proc::{link_thread, list_thread_fds, list_threads, parsed_thread};
use crate::resource::fd::{fanotify, watched};

/// Nobody of these does; asked before anybody is stopped.
pub fn nobody_decides(members: &[Pid]) -> Result<(), Problem> {
    members.iter().find(|pid| decides(**pid)).map_or(Ok(()), |pid| Err(problem(*pid)))
}

/// Nobody does whose files are these: asked again when all stand still, before any file is opened by its name.
pub fn nobody_decided(open: &OpenFiles) -> Result<(), Problem> {
    let decides = open.facts.files.iter().find(|file| file.info.details.iter().any(is_decision));
    decides.map_or(Ok(()), |file| Err(problem(file.holders[0].0)))
}

fn problem(pid: Pid) -> Problem {
    let what = phrase!(
        "it decides whether other programs may open files (fanotify): they would all wait for it while it stands still"
    );
    let problem = Problem::blocks(ProblemKind::AnonymousFile, what).of(&named(pid));
    problem.way_out(phrase!("End it, or choose other processes"))
}

/// Whoever ends meanwhile decides nothing. A thread may have a table of its own.
fn decides(pid: Pid) -> bool {
    let mut tables = Owners::of(Shared::Files);
    list_threads(pid).unwrap_or_default().into_iter().filter(|tid| tables.find_or_add(*tid).is_err()).any(|tid| {
        let watches = list_thread_fds(pid, tid).unwrap_or_default().into_iter().filter(|number| {
            link_thread(pid, tid, &format!("fd/{number}")).is_ok_and(|link| link == b"anon_inode:[fanotify]")
        });
        let infos =
            watches.filter_map(|number| parsed_thread(pid, tid, &format!("fdinfo/{number}"), fdinfo::parse).ok());
        infos.flat_map(|info| info.details).any(|detail| is_decision(&detail))
    })
}

fn is_decision(detail: &FdDetail) -> bool {
    let FdDetail::Fanotify(line) = detail else { return false };
    watched::number(line, b"mask").is_some_and(|mask| mask & fanotify::DECIDES != 0)
}
