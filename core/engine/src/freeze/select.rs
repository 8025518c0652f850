//! Which processes belong to a selection.

use std::collections::HashSet;

use dormouse_wire::{Pid, Problem, ProblemKind};

use crate::Selection;
use crate::proc::{self, ProcError, stat};

/// The selected process and all its descendants, each after its parent.
pub fn members(selection: &Selection) -> Result<Vec<Pid>, Problem> {
    if let Err(error) = proc::parsed(selection.pid, "stat", stat::parse) {
        let what = match error {
            ProcError::Gone => "there is no such process".to_owned(),
            other => other.to_string(),
        };
        let problem = Problem::blocks(ProblemKind::Selection, what).at(format!("pid {}", selection.pid));
        return Err(problem.way_out("Look for it with `ps -e`"));
    }
    let mut members = vec![selection.pid];
    let mut known: HashSet<Pid> = members.iter().copied().collect();
    let mut next = 0;
    while let Some(pid) = members.get(next).copied() {
        next += 1;
        // Whoever ends meanwhile has no children any more.
        for tid in proc::list_threads(pid).unwrap_or_default() {
            for child in proc::children(pid, tid).unwrap_or_default() {
                if known.insert(child) {
                    members.push(child);
                }
            }
        }
    }
    let own = Pid(std::process::id() as i32);
    if members.contains(&own) {
        let problem = Problem::blocks(ProblemKind::Selection, "Dormouse itself runs in this group");
        let problem = problem.at(format!("pid {}", selection.pid));
        return Err(problem.way_out("Run Dormouse from another session, or choose a process below the one it was started from"));
    }
    Ok(members)
}
