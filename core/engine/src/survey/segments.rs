//! System V shared memory that a group has attached, as far as it cannot be given back, or somebody else has it too.

use std::collections::BTreeMap;

use dormouse_wire::{Problem, ProblemKind, ProcessName, phrase};

use super::collect::ProcessFacts;
use super::connect::Sharer;
use super::system_v::was_there;
use crate::kernel::outside;
use crate::proc::system_v::{self, LOCKED, Segment};
use crate::resource::memory::segment::{is_one, shown};

/// What stands in the way, and what would be lost.
pub fn judge(processes: &[ProcessFacts], sharers: &[Sharer]) -> Vec<Problem> {
    let (there, mut problems, mut counts) = (system_v::segments(), Vec::new(), BTreeMap::new());
    for process in processes {
        for (id, parts) in attachments(process) {
            let (parts_here, _) = counts.entry(id).or_insert((0, &process.shown));
            *parts_here += parts;
            problems.extend(judge_attachment(id, &there).map(|problem| problem.of(&process.shown)));
        }
    }
    for (id, (parts, process)) in counts {
        let found = there.iter().find(|segment| segment.id == id);
        problems.extend(found.into_iter().flat_map(|found| judge_segment(found, parts, process, sharers)));
    }
    // In an ipc namespace of the group's own they are recorded, too.
    if !outside::has_own("ipc") {
        problems.extend(processes.iter().filter_map(|process| alone(process, &there)));
    }
    problems
}

/// What a process has attached: the segments, and in how many parts.
fn attachments(process: &ProcessFacts) -> BTreeMap<i32, u64> {
    let mut attachments = BTreeMap::new();
    let all = process.living.iter().flat_map(|living| &living.mappings);
    for found in all.filter(|found| is_one(found)) {
        *attachments.entry(found.inode as i32).or_default() += 1;
    }
    attachments
}

fn judge_attachment(id: i32, there: &[Segment]) -> Option<Problem> {
    if there.iter().any(|segment| segment.id == id) {
        return None;
    }
    let what = phrase!("the system does not show it: it is of another ipc namespace");
    let problem = Problem::blocks(ProblemKind::Memory, what).at(shown(id));
    Some(problem.way_out(phrase!("Pause the group instead, or let the program detach it")))
}

fn judge_segment(found: &Segment, parts: u64, process: &ProcessName, sharers: &[Sharer]) -> Vec<Problem> {
    let mut problems = Vec::new();
    // Others who have it too are named with everything else that cannot be cut.
    if found.attached > parts && sharers.is_empty() {
        let what = phrase!("somebody who cannot be seen from here has attached it, too");
        let problem = Problem::blocks(ProblemKind::Memory, what).of(process).at(shown(found.id));
        problems.push(problem.way_out(phrase!("Freeze them together, or pause the group instead")));
    }
    if found.mode & LOCKED != 0 {
        let what = phrase!("it is locked in memory (SHM_LOCK)");
        let loss = phrase!("that lock, if the segment has to be made again: it may be swapped out then");
        problems.push(Problem::loses(ProblemKind::Memory, what, loss).of(process).at(shown(found.id)));
    }
    problems
}

/// What it has made or used, and nobody has attached now.
fn alone(process: &ProcessFacts, there: &[Segment]) -> Option<Problem> {
    let alone = |segment: &&Segment| {
        segment.attached == 0 && segment.users.contains(&process.pid) && was_there(process.pid, segment.time)
    };
    let ids: Vec<String> = there.iter().filter(alone).map(|segment| segment.id.to_string()).collect();
    (!ids.is_empty()).then(|| {
        let ids = ids.join(", ");
        let what = phrase!(
            "it has used System V shared memory ({ids}) that nobody has attached now, which lives on in the system",
            ids
        );
        let loss =
            phrase!("what others make of it while it sleeps, and the memory itself when the system is started again");
        Problem::loses(ProblemKind::Memory, what, loss).of(&process.shown)
    })
}
