//! A group as it is found: the selected processes, and whoever cannot be cut from them.

use dormouse_wire::{Pid, Problem, ProblemKind, phrase};

use super::collect::ProcessFacts;
use super::connect::Sharer;
use super::files::OpenFiles;
use super::in_flight::Look;
use super::inner::{self, InnerFacts};
use super::{collect, connect, deciders, files, own_servers, select};
use crate::Selection;
use crate::kernel::threads;
use crate::proc::ProcError;

/// What is seen of a group.
#[derive(Debug)]
pub struct Found {
    /// Its processes, each after its parent.
    pub processes: Vec<ProcessFacts>,
    /// What they have open.
    pub open: OpenFiles,
    /// Who outside maps its memory.
    pub sharers: Vec<Sharer>,
    /// Namespaces that only some of them live in.
    pub inner: InnerFacts,
}

/// Why a group is not seen.
#[derive(Debug)]
pub enum Unseen {
    /// These things cannot be looked at.
    Refused(Vec<Problem>),
    /// Something failed on the way.
    Failed(Problem),
}

impl Found {
    /// Looks at a group, again and again until nobody is missing. `hold` answers the processes that some pids stand for, and
    /// may see to it that they stand still; `queues`: how closely what waits in sockets is looked at.
    pub fn of(
        selection: &Selection,
        queues: Look,
        mut hold: impl FnMut(&[Pid]) -> Result<Vec<Pid>, Problem>,
    ) -> Result<Self, Unseen> {
        let mut seeds = vec![selection.pid];
        seeds.extend(&selection.others);
        loop {
            let members = hold(&seeds).map_err(Unseen::Failed)?;
            let collected =
                threads::each(&members, |pid| collect::process(*pid).map_err(|error| unreadable(*pid, &error)));
            let mut processes = collected.into_iter().collect::<Result<Vec<_>, _>>().map_err(Unseen::Failed)?;
            let unanswered = own_servers::judge(&processes);
            if !unanswered.is_empty() {
                return Err(Unseen::Refused(unanswered));
            }
            let mut open = files::collect(&processes, queues, selection).map_err(Unseen::Refused)?;
            deciders::nobody_decided(&open).map_err(Unseen::Failed)?;
            let sharers = connect::sharers(&processes);
            let joined = if selection.tree_only {
                Vec::new()
            } else {
                [connect::joined(&processes, &open, &sharers), connect::orphans(&processes)].concat()
            };
            if joined.is_empty() {
                let mut inner = inner::look(&mut processes);
                inner.place_files(&mut open.facts, &processes);
                inner.sockets(&open.facts);
                return Ok(Self { processes, open, sharers, inner });
            }
            seeds.extend(joined);
        }
    }
}

fn unreadable(pid: Pid, error: &ProcError) -> Problem {
    Problem::blocks(ProblemKind::Process, error.said()).of(&select::named(pid)).way_out(phrase!("Try again"))
}
