//! Whether there are as many huge pages (hugetlb) as the group needs: nothing else gives them, and who touches one that cannot be
//! had is ended by SIGBUS.

use std::collections::{BTreeMap, BTreeSet};

use dormouse_wire::{ByteSize, Problem, ProblemKind, phrase};

use crate::kernel::huge_pages;
use crate::proc::maps::VmFlags;
use crate::proc::system_v;
use crate::resource::content::Stored;
use crate::resource::group::{Group, Process};
use crate::resource::memory::inherit::inherited;
use crate::resource::memory::mapping::{Backing, Mapping, PAGE, Run, Source};

/// Sizes of which there are too few.
pub fn preflight(group: &Group) -> Vec<Problem> {
    needed(group).into_iter().filter_map(|(size, needed)| lacking(size, needed)).collect()
}

fn lacking(size: u64, needed: u64) -> Option<Problem> {
    let shown = ByteSize(size);
    let Some(available) = huge_pages::available(size) else {
        let what = phrase!("the group has huge pages of {size}, and this machine has none of that size", size = shown);
        let problem = Problem::blocks(ProblemKind::Space, what);
        return Some(problem.way_out(phrase!("Thaw it on a machine that has")));
    };
    if needed <= available {
        return None;
    }
    let what = phrase!(
        "the group needs {needed} huge pages of {size}, and {available} are free",
        needed,
        size = shown,
        available
    );
    let more = huge_pages::set_aside(size).saturating_add(needed - available);
    let file = format!("/sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages", size / 1024);
    let way_out = phrase!(
        "Set {more} aside, by this number in {file}; those of the usual size by sysctl vm.nr_hugepages={more}",
        more,
        file
    );
    Some(Problem::blocks(ProblemKind::Space, what).way_out(way_out))
}

/// How many of each size the group needs when it is built.
fn needed(group: &Group) -> BTreeMap<u64, u64> {
    let mut needed: BTreeMap<u64, u64> = BTreeMap::new();
    let mut add = |size: u64, count: u64| {
        let sum = needed.entry(size).or_default();
        *sum = sum.saturating_add(count);
    };
    let parent = |process: &Process| {
        let parent = process.family.parent?;
        group.processes.iter().find(|other| other.pid() == parent)?.alive()
    };
    for process in &group.processes {
        let Some(alive) = process.alive() else { continue };
        if alive.memory.mappings.iter().all(|mapping| mapping.huge_page == 0) {
            continue;
        }
        let above = parent(process).map(|above| above.memory.mappings.as_slice()).unwrap_or_default();
        for mapping in alive.memory.mappings.iter().filter(|mapping| mapping.huge_page != 0 && !mapping.is_shared()) {
            add(mapping.huge_page, of_mapping(mapping, above));
        }
    }
    let there =
        if group.segments.iter().any(|segment| segment.huge_page != 0) { system_v::segments() } else { Vec::new() };
    for (index, content) in group.contents.iter().enumerate().filter(|(_, content)| content.huge_page != 0) {
        let reserved = mapped(group).any(|mapping| mapping.backing == Backing::Content(index) && reserves(mapping));
        let whole = content.size / content.huge_page;
        add(content.huge_page, if reserved { whole } else { stored(&content.pages, content.huge_page) });
    }
    for segment in group.segments.iter().filter(|segment| segment.huge_page != 0 && !segment.is_among(&there)) {
        add(segment.huge_page, segment.length() / segment.huge_page);
    }
    needed
}

fn mapped(group: &Group) -> impl Iterator<Item = &Mapping> {
    group.processes.iter().filter_map(Process::alive).flat_map(|alive| &alive.memory.mappings)
}

/// Whether the kernel puts all pages of a mapping by when it is made.
fn reserves(mapping: &Mapping) -> bool {
    mapping.is_shared() && !mapping.flags.contains(VmFlags::NO_RESERVE)
}

/// How many pages a private mapping takes: all of it where it is made, or those that are its own where it comes from the parent.
fn of_mapping(mapping: &Mapping, above: &[Mapping]) -> u64 {
    let is_inherited = inherited(mapping, above).iter().any(|range| range.start == mapping.start);
    if !is_inherited && !mapping.flags.contains(VmFlags::NO_RESERVE) {
        return mapping.length() / mapping.huge_page;
    }
    let own = mapping.pages.iter().filter(|run| matches!(run.source, Source::Stored(_)));
    whole(own.map(|run: &Run| (run.page, run.count)), mapping.huge_page)
}

fn stored(pages: &[Stored], huge_page: u64) -> u64 {
    whole(pages.iter().map(|stored| (stored.page, stored.count)), huge_page)
}

/// How many huge pages these ordinary ones are in: the first of each run, and how many.
fn whole(runs: impl Iterator<Item = (u64, u64)>, huge_page: u64) -> u64 {
    let in_one = huge_page / PAGE;
    let touched: BTreeSet<u64> = runs
        .flat_map(|(first, count)| first / in_one..=first.saturating_add(count.saturating_sub(1)) / in_one)
        .collect();
    touched.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_one_huge_page_are_counted_once() {
        assert_eq!(whole([(0, 1), (5, 3), (511, 2), (2048, 1)].into_iter(), 2 << 20), 3);
        assert_eq!(whole([(0, 0)].into_iter(), 2 << 20), 1);
    }

    #[test]
    fn a_size_that_no_machine_has_is_told() {
        let said = lacking(8 << 20, 1).map(|problem| problem.to_string()).unwrap_or_default();
        assert!(said.contains("this machine has none of that size"), "{said}");
    }
}
