//! Terminals outside the group: those that members have open, or are controlled by.

use std::collections::BTreeMap;

use dormouse_wire::{Problem, ProblemKind, ProcessName, phrase};

use super::collect::ProcessFacts;
use super::files::OpenFiles;
use crate::resource::fd::{pty, terminal};

/// A device number, major and minor.
pub type Device = (u32, u32);

/// The controlling terminal of a process, if it lies outside the group.
pub fn controlling(process: &ProcessFacts, open: &OpenFiles) -> Option<Device> {
    process.stat.terminal().filter(|device| pty::master_of(*device, &open.facts).is_none())
}

/// The pseudo-terminals outside the group, each with the first process that is on it.
pub fn outside(processes: &[ProcessFacts], open: &OpenFiles) -> BTreeMap<Device, ProcessName> {
    let files = open.facts.files.iter();
    let opened = files.filter_map(|facts| Some((terminal::outside(facts, &open.facts)?, facts.process.clone())));
    let controlled = processes.iter().filter_map(|process| Some((controlling(process, open)?, process.shown.clone())));
    let mut found = BTreeMap::new();
    for (device, process) in controlled.chain(opened).filter(|((major, _), _)| *major == pty::SLAVES) {
        found.entry(device).or_insert(process);
    }
    found
}

/// A thaw has one terminal to give.
pub fn judge(processes: &[ProcessFacts], open: &OpenFiles) -> Vec<Problem> {
    let mut problems = Vec::new();
    let outside = outside(processes, open);
    if outside.len() > 1 {
        for ((_, number), process) in outside {
            let what = phrase!("the group is on several terminals outside it, and can come back on one only");
            let problem = Problem::blocks(ProblemKind::Terminal, what).of(&process);
            let problem = problem.at(pty::node(number).display().to_string());
            problems.push(problem.way_out(phrase!("Freeze what is on each terminal by itself")));
        }
    }
    for process in processes.iter().filter(|process| process.living.is_some() && process.stat.terminal().is_none()) {
        let mut session = processes.iter().filter(|other| other.stat.session == process.stat.session);
        if session.any(|other| other.stat.terminal().is_some()) {
            let what = phrase!("it has given up the terminal of its session, and will have it again after the thaw");
            problems.push(
                Problem::loses(ProblemKind::Terminal, what, phrase!("that it has no terminal")).of(&process.shown),
            );
        }
    }
    problems
}
