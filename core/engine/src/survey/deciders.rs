//! Who decides whether others may open files, fanotify(7): while such a process stands still, all of them wait for it, and perhaps the whole
//! system.

use dormouse_wire::{Pid, Problem, ProblemKind, phrase};

use super::select::named;
use crate::proc::fdinfo::{self, FdDetail};
use crate::proc::{link, list_fds, parsed};
use crate::resource::fd::{fanotify, watched};

/// Nobody of these does; asked before anybody is stopped.
pub fn nobody_decides(members: &[Pid]) -> Result<(), Problem> {
    let Some(pid) = members.iter().find(|pid| decides(**pid)) else { return Ok(()) };
    let what = phrase!(
        "it decides whether other programs may open files (fanotify): they would all wait for it while it stands still"
    );
    let problem = Problem::blocks(ProblemKind::AnonymousFile, what).of(&named(*pid));
    Err(problem.way_out(phrase!("End it, or choose other processes")))
}

fn decides(pid: Pid) -> bool {
    // Whoever ends meanwhile decides nothing.
    let watches = list_fds(pid)
        .unwrap_or_default()
        .into_iter()
        .filter(|number| link(pid, &format!("fd/{number}")).is_ok_and(|link| link == b"anon_inode:[fanotify]"));
    let infos = watches.filter_map(|number| parsed(pid, &format!("fdinfo/{number}"), fdinfo::parse).ok());
    infos.flat_map(|info| info.details).any(|detail| match detail {
        FdDetail::Fanotify(line) => watched::number(&line, b"mask").is_some_and(|mask| mask & fanotify::DECIDES != 0),
        _ => false,
    })
}
