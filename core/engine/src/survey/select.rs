//! Which processes belong to a selection.

use std::collections::HashSet;

use dormouse_wire::{Pid, Problem, ProblemKind, ProcessName, phrase};

use super::born::Born;
use crate::kernel::threads::each;
use crate::proc::{self, ProcError, stat};

/// The processes of a selection and all their descendants, each after its parent. The first one is what was asked for. Whoever has got the
/// pid of one that was meant, by `born`, is as good as nobody.
pub fn members(seeds: &[Pid], born: &Born) -> Result<Vec<Pid>, Problem> {
    let Some(selected) = seeds.first().copied() else { return Ok(Vec::new()) };
    let found = proc::parsed(selected, "stat", stat::parse);
    let found = found.and_then(|found| if born.is_another(selected) { Err(ProcError::Gone) } else { Ok(found) });
    let found = found.map_err(|error| {
        let what = match error {
            ProcError::Gone => phrase!("there is no such process"),
            other => other.said(),
        };
        let problem = Problem::blocks(ProblemKind::Selection, what).at(phrase!("pid {selected}", selected));
        problem.way_out(phrase!("Look for it with `ps -e`"))
    })?;
    if found.is_kernel_thread() {
        let problem = Problem::blocks(ProblemKind::Selection, phrase!("it is a thread of the kernel"));
        let comm = String::from_utf8_lossy(&found.comm).into_owned();
        return Err(problem.of(&ProcessName { pid: selected, comm }).way_out(phrase!("Choose another process")));
    }
    let mut members = Vec::new();
    let mut known = HashSet::new();
    // A seed below another one comes with it, after its parent. Whoever has joined and ended since is missed by nobody.
    let is_there = |seed: &Pid| *seed == selected || born.is_there(*seed);
    for seed in seeds.iter().filter(|seed| is_there(seed)) {
        descend(*seed, &mut members, &mut known);
    }
    let members = parents_first(members);
    let own = Pid(std::process::id() as i32);
    if members.contains(&own) {
        let problem = Problem::blocks(ProblemKind::Selection, phrase!("Dormouse itself runs in this group"));
        let problem = problem.at(phrase!("pid {selected}", selected));
        return Err(problem.way_out(phrase!(
            "Run Dormouse from another session, or choose a process below the one it was started from"
        )));
    }
    Ok(members)
}

fn descend(seed: Pid, members: &mut Vec<Pid>, known: &mut HashSet<Pid>) {
    let mut next = members.len();
    if known.insert(seed) {
        members.push(seed);
    }
    while let Some(pid) = members.get(next).copied() {
        next += 1;
        // Whoever ends meanwhile has no children any more.
        let threads = proc::list_threads(pid).unwrap_or_default();
        let children = each(&threads, |tid| proc::children(pid, *tid).unwrap_or_default());
        members.extend(children.into_iter().flatten().filter(|child| known.insert(*child)));
    }
}

/// A later seed can be above an earlier one: then the earlier comes after it.
fn parents_first(members: Vec<Pid>) -> Vec<Pid> {
    let parent = |pid: &Pid| proc::parsed(*pid, "stat", stat::parse).map(|stat| stat.ppid).ok();
    let mut waiting: Vec<(Pid, Option<Pid>)> = members.iter().map(|pid| (*pid, parent(pid))).collect();
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let still: HashSet<Pid> = waiting.iter().map(|(pid, _)| *pid).collect();
        let (ready, later): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(_, parent)| parent.is_none_or(|parent| !still.contains(&parent)));
        if ready.is_empty() {
            ordered.extend(later.into_iter().map(|(pid, _)| pid));
            return ordered;
        }
        ordered.extend(ready.into_iter().map(|(pid, _)| pid));
        waiting = later;
    }
    ordered
}

/// The name of a process, for a person; `None` where it is gone.
pub fn shown(pid: Pid) -> Option<ProcessName> {
    let comm = proc::parsed(pid, "stat", stat::parse).ok()?.comm;
    Some(ProcessName { pid, comm: String::from_utf8_lossy(&comm).into_owned() })
}

/// A name for messages, whatever has become of the process.
pub fn named(pid: Pid) -> ProcessName {
    shown(pid).unwrap_or_else(|| ProcessName { pid, comm: "?".to_owned() })
}
