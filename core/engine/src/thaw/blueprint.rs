//! Whether an image can be thawed here: every problem at once, before anything exists.
//!
//! An image is untrusted: what it says is checked before it is believed.

use std::collections::HashSet;

use dormouse_wire::{Pid, Problem, ProblemKind};

use crate::ThawOptions;
use crate::image::Reader;
use crate::resource::content::Content;
use crate::resource::fd::kind_named;
use crate::resource::group::{Alive, Group, Life, Process};
use crate::resource::memory::layout::Executable;
use crate::resource::memory::mapping::{Backing, Mapping, PAGE, Source};
use crate::resource::memory::protection_keys;
use crate::resource::task::credentials::Privileges;

/// All problems.
pub fn preflight(group: &Group, reader: &Reader, options: &ThawOptions) -> Vec<Problem> {
    let mut problems = consistent(group, reader);
    if !problems.is_empty() {
        return problems;
    }
    problems.extend(super::old_vdso::check(group));
    problems.extend(pids(group));
    problems.extend(privileges(group));
    problems.extend(super::terminals::preflight(group, options));
    for (index, file) in group.mapped_files.iter().enumerate() {
        let problem = file.check(true);
        // A file that is mapped only to be run or read by itself is named once, however many processes map it.
        let users = group.processes.iter().filter(|process| uses(process, index)).count();
        problems.extend(problem.into_iter().filter(|_| users > 0));
    }
    problems.extend(group.contents.iter().filter_map(Content::preflight));
    for file in &group.open_files {
        match kind_named(file) {
            Ok(kind) => problems.extend(kind.preflight(file)),
            Err(problem) => problems.push(problem),
        }
    }
    problems.sort();
    problems.dedup();
    problems
}

fn uses(process: &Process, file: usize) -> bool {
    process.alive().is_some_and(|alive| {
        alive.memory.layout.executable == Executable::Named(file)
            || alive.memory.mappings.iter().any(|mapping| mapping.backing == Backing::File(file))
    })
}

/// Whether the records fit together.
fn consistent(group: &Group, reader: &Reader) -> Vec<Problem> {
    let lie = |what: String| Problem::blocks(ProblemKind::Image, format!("the image contradicts itself: {what}"));
    let mut problems = Vec::new();
    let mut seen = HashSet::new();
    for process in &group.processes {
        let pid = process.pid();
        if pid.0 < 2 || !seen.insert(pid) {
            problems.push(lie(format!("pid {pid} cannot be")));
        }
        if process.family.parent.is_some_and(|parent| parent == pid || !seen.contains(&parent)) {
            problems.push(lie(format!("pid {pid} stands before its parent")));
        }
        match &process.life {
            Life::Alive(alive) => problems.extend(alive_consistent(group, reader, pid, alive).into_iter().map(lie)),
            Life::Zombie(zombie) if zombie.end().is_none() => problems.push(lie(format!("pid {pid} cannot have ended so"))),
            Life::Zombie(_) => {}
        }
    }
    for (index, table) in group.file_tables.iter().enumerate() {
        if table.entries.iter().any(|entry| entry.file.0 >= group.open_files.len() || entry.number.0 < 0) {
            problems.push(lie(format!("table {index} names a file that is not there")));
        }
        if table.entries.iter().any(|entry| entry.number.0 > 1 << 24) {
            problems.push(lie(format!("table {index} has a descriptor too high to be true")));
        }
    }
    for content in &group.contents {
        let fits = |stored: &crate::resource::content::Stored| {
            stored.page.checked_add(stored.count).is_some_and(|end| end <= content.size.div_ceil(PAGE))
                && reader.has_pages(stored.first, usize::try_from(stored.count).unwrap_or(usize::MAX))
                && stored.first.slot() + stored.count as usize <= crate::image::CHUNK_PAGES
        };
        if !content.pages.iter().all(fits) {
            problems.push(lie(format!("{} has pages that are not there", content.origin.shown())));
        }
    }
    problems
}

fn alive_consistent(group: &Group, reader: &Reader, pid: Pid, alive: &Alive) -> Vec<String> {
    let mut lies = Vec::new();
    let executable = match alive.memory.layout.executable {
        Executable::Named(file) => file < group.mapped_files.len(),
        Executable::Content(content) => content < group.contents.len(),
    };
    if !executable || alive.file_table >= group.file_tables.len() || alive.filesystem >= group.filesystems.len() {
        lies.push(format!("pid {pid} refers to what is not there"));
    }
    if alive.threads.first().is_none_or(|leader| leader.tid.0 != pid.0) {
        lies.push(format!("pid {pid} has no leader"));
    }
    if !alive.stop.is_possible() {
        lies.push(format!("pid {pid} cannot have been stopped by that signal"));
    }
    let mut end = 0;
    for mapping in &alive.memory.mappings {
        if mapping.start < end || !mapping_consistent(group, reader, mapping) {
            lies.push(format!("pid {pid} has an impossible mapping at {:#x}", mapping.start));
        }
        end = mapping.end;
    }
    lies
}

fn mapping_consistent(group: &Group, reader: &Reader, mapping: &Mapping) -> bool {
    const TOP: u64 = 1 << 56;
    let backing = match mapping.backing {
        Backing::File(file) => file < group.mapped_files.len(),
        Backing::Content(content) => content < group.contents.len(),
        _ => true,
    };
    let range = mapping.start < mapping.end && mapping.end <= TOP && (mapping.start | mapping.end).is_multiple_of(PAGE);
    let mut next = 0;
    backing
        && range
        && mapping.protection_key <= protection_keys::LAST
        && mapping.pages.iter().all(|run| {
            let Some(end) = run.page.checked_add(run.count) else { return false };
            let ordered = run.page >= next && end <= mapping.length() / PAGE;
            next = end;
            ordered
                && match run.source {
                    Source::Stored(first) => has_run(reader, first, run.count),
                    Source::Zero | Source::Inherited => true,
                }
        })
}

/// A run may go on from chunk to chunk; each of its pages must be there.
fn has_run(reader: &Reader, first: crate::image::PageNumber, count: u64) -> bool {
    let mut first = first;
    let mut left = count;
    while left > 0 {
        let here = left.min((crate::image::CHUNK_PAGES - first.slot()) as u64);
        if !reader.has_pages(first, here as usize) {
            return false;
        }
        let Some(next) = first.checked_add(here) else { return false };
        first = next;
        left -= here;
    }
    true
}

/// Pids and tids that others have.
fn pids(group: &Group) -> Vec<Problem> {
    let mut problems = Vec::new();
    for process in &group.processes {
        let threads = process.alive().map(|alive| alive.threads.iter().map(|thread| thread.tid.0).collect());
        for number in threads.unwrap_or_else(|| vec![process.pid().0]) {
            let Ok(status) = crate::proc::parsed(Pid(number), "status", crate::proc::status::parse) else { continue };
            let name = String::from_utf8_lossy(&status.name).into_owned();
            let zombie = status.state == crate::proc::stat::State::Zombie;
            let (what, way_out) = if zombie {
                let what = format!("pid {number} is still held by {name}, which has ended but has not been waited for");
                (what, format!("Wait until its parent, pid {}, has reaped it", status.ppid))
            } else {
                let what = format!("pid {number} belongs to another process now: {name}");
                (what, "End that process, or wait until it has ended".into())
            };
            problems.push(Problem::blocks(ProblemKind::PidTaken, what).of(&process.shown()).way_out(way_out));
        }
    }
    problems
}

/// Credentials that the engine cannot give, because it does not have them itself.
fn privileges(group: &Group) -> Vec<Problem> {
    let own = Privileges::own();
    let mut problems = Vec::new();
    for process in &group.processes {
        let credentials: Vec<_> = match &process.life {
            Life::Alive(alive) => alive.threads.iter().map(|thread| &thread.credentials).collect(),
            Life::Zombie(zombie) => vec![&zombie.credentials],
        };
        let lacking = credentials.iter().fold(0, |lacking, credentials| lacking | own.lacking(credentials));
        if lacking != 0 {
            let what = format!("it had capabilities that Dormouse does not have here (bits {lacking:#x})");
            let problem = Problem::blocks(ProblemKind::Privilege, what).of(&process.shown());
            problems.push(problem.way_out("Thaw it with more privileges"));
        }
    }
    problems
}
