//! Whether an image contradicts itself. It is untrusted: every number and every index in it is checked before it is
//! believed, so that what builds the group need not ask again.

use std::collections::{HashMap, HashSet};

use dormouse_wire::{Pid, Problem, ProblemKind, phrase};

use crate::image::{Reader, SectionKind};
use crate::kernel::huge_pages;
use crate::kernel::system_v::Object;
use crate::resource::group::{Alive, Group, Life, Process, Thread};
use crate::resource::memory::layout::Executable;
use crate::resource::memory::mapping::{Backing, Mapping, PAGE, Source};
use crate::resource::memory::{own_segments, protection_keys, ring, segment};
use crate::resource::namespace::{Namespaces, inner, mount};
use crate::resource::system_v::semaphores;
use crate::resource::task::interrupted;
use crate::resource::task::seccomp::{Filter, Seccomp};

/// Whether the records fit together.
pub fn problems(group: &Group, reader: &Reader) -> Vec<Problem> {
    let lie = |what: String| Problem::blocks(ProblemKind::Image, phrase!("the image contradicts itself: {what}", what));
    let mut problems: Vec<Problem> = family(group, reader).into_iter().map(lie).collect();
    for process in &group.processes {
        let pid = process.pid();
        match &process.life {
            Life::Alive(alive) => problems.extend(alive_consistent(group, reader, pid, alive).into_iter().map(lie)),
            Life::Zombie(zombie) if zombie.end().is_none() => {
                problems.push(lie(format!("pid {pid} cannot have ended so")));
            }
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
        if !table.entries.is_sorted_by(|one, next| one.number < next.number) {
            problems.push(lie(format!("the descriptors of table {index} are not in their order")));
        }
    }
    for content in &group.contents {
        if !content.pages.iter().all(|stored| stored.fits(content.size, reader)) {
            problems.push(lie(format!("{} has pages that are not there", content.origin.shown())));
        }
        let huge = content.huge_page;
        if huge != 0 && !(huge_pages::is_possible(huge) && content.size.is_multiple_of(huge)) {
            problems.push(lie(format!("{} cannot consist of huge pages", content.origin.shown())));
        }
    }
    let mut ids = HashSet::new();
    for segment in &group.segments {
        let is_whole = || segment.pages.iter().all(|stored| stored.fits(segment.length(), reader));
        if !segment.is_possible() || !is_whole() || !ids.insert(segment.id) {
            problems.push(lie(format!("{} cannot be", segment::shown(segment.id))));
        }
    }
    problems.extend(objects(group).into_iter().map(lie));
    problems.extend(inner::verify(group).map(|odd| lie(odd.to_owned())));
    problems.extend(mount::verify_inner(&group.inner, &group.mounted, reader).map(|odd| lie(odd.to_owned())));
    problems.extend(places(group).into_iter().map(lie));
    problems.extend(control_groups(group).map(lie));
    problems
}

/// Whoever shares a place in the filesystem lives in the same user namespace, and among the same mounts, setns(2).
fn places(group: &Group) -> Vec<String> {
    let mut lies = Vec::new();
    let mut homes = HashMap::new();
    for process in &group.processes {
        let Some(own) = process.alive() else { continue };
        let home = (process.place.user, process.place.mnt);
        if *homes.entry(own.filesystem).or_insert(home) != home {
            lies.push(format!("pid {} shares its working directory across namespaces", process.pid()));
        }
    }
    lies
}

/// Control groups that cannot be, by their paths or by what is to be set there.
fn control_groups(group: &Group) -> impl Iterator<Item = String> {
    let impossible = group.control_groups.iter().filter(|record| !record.is_possible());
    impossible.map(|record| format!("there can be no control group {}", record.shown()))
}

/// Whether the System V semaphores and queues can be.
fn objects(group: &Group) -> Vec<String> {
    let mut lies = Vec::new();
    let sets = group.semaphores.iter().map(|set| (Object::Semaphores, &set.known));
    let queues = group.queues.iter().map(|queue| (Object::Queue, &queue.known));
    let mut ids = HashSet::new();
    for (object, known) in sets.chain(queues) {
        if !known.is_possible() || !ids.insert((object == Object::Queue, known.id)) {
            lies.push(format!("{} cannot be", known.shown(object)));
        }
    }
    if group.semaphores.iter().any(|set| set.values.is_empty() || set.values.len() > semaphores::MOST) {
        lies.push("a set has a number of semaphores that none can have".into());
    }
    lies
}

/// Whether every process and thread has an id of its own and stands behind its parent, and whether all can be told of I/O
/// that are said to be.
fn family(group: &Group, reader: &Reader) -> Vec<String> {
    let mut lies = Vec::new();
    // The init of a pid namespace comes back with the namespaces that the group had for itself.
    let is_whole = reader.optional_section::<Namespaces>(SectionKind::Namespaces).is_ok_and(|found| found.is_some());
    let least = if is_whole { 1 } else { 2 };
    let is_root = |process: &Process| process.family.parent.is_none();
    let ends_well = |process: &Process| process.pid().0 == 1 && process.alive().is_some();
    if is_whole && group.processes.iter().any(|process| is_root(process) != ends_well(process)) {
        lies.push("not everybody in it descends from its first process".to_owned());
    }
    let mut depths: HashMap<Pid, usize> = HashMap::new();
    let mut ids = HashSet::new();
    for process in &group.processes {
        let pid = process.pid();
        let threads =
            process.alive().map_or(vec![pid.0], |alive| alive.threads.iter().map(|thread| thread.tid.0).collect());
        if let Some(id) = threads.into_iter().find(|id| *id < least || !ids.insert(*id)) {
            lies.push(format!("there can be no process or thread {id}, or there are two"));
        }
        let above = process.family.parent.map_or(Some(0), |parent| depths.get(&parent).copied());
        match above {
            None => lies.push(format!("pid {pid} stands before its parent")),
            Some(above) if above >= DEEPEST => lies.push(format!("pid {pid} has too many ancestors")),
            Some(above) => {
                depths.insert(pid, above + 1);
            }
        }
    }
    let leaders = group.processes.iter().map(|process| process.family.process_group.0);
    let known: HashSet<i32> = ids.iter().copied().chain(leaders).chain([0]).collect();
    let told = group.open_files.iter().filter_map(|file| file.notify);
    lies.extend(
        told.filter(|notify| !known.contains(&notify.id))
            .map(|notify| format!("a file tells {} of I/O, which is not part of the group", notify.id)),
    );
    lies
}

/// So many generations are more than anybody has; they are built one inside the other.
const DEEPEST: usize = 1000;

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
    if alive.threads.iter().filter_map(|thread| thread.interrupted).any(|call| !interrupted::is_possible(call)) {
        lies.push(format!("pid {pid} was in a system call of which the kernel keeps nothing"));
    }
    if alive.timers.posix.iter().any(|timer| !(0..most_timers()).contains(&timer.id)) {
        lies.push(format!("pid {pid} has a timer with an id too high to be true"));
    }
    let is_there = |thread: &Thread| match &thread.seccomp {
        Seccomp::Filters(filters) => filters.iter().all(|filter| *filter < alive.filters.len()),
        Seccomp::Off | Seccomp::Strict => true,
    };
    if !alive.threads.iter().all(is_there) || !alive.filters.iter().all(Filter::is_possible) {
        lies.push(format!("pid {pid} is confined by filters that cannot be"));
    }
    let groups = alive.threads.iter().flat_map(|thread| &thread.control_groups).chain(&alive.control_groups);
    if groups.into_iter().any(|record| *record >= group.control_groups.len()) {
        lies.push(format!("pid {pid} is in a control group that is not there"));
    }
    if !ring::are_possible(&alive.memory.rings, &alive.memory.mappings) {
        lies.push(format!("pid {pid} has contexts for asynchronous I/O that cannot be"));
    }
    if !own_segments::are_possible(&alive.memory.own_segments) {
        lies.push(format!("pid {pid} has segments of its own that cannot be"));
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

/// The highest id of a timer, and one more: where ids cannot be chosen, timers are made until one has it.
fn most_timers() -> i32 {
    if crate::kernel::features::timer_ids() { i32::MAX } else { 1 << 16 }
}

fn mapping_consistent(group: &Group, reader: &Reader, mapping: &Mapping) -> bool {
    const TOP: u64 = 1 << 56;
    let backing = match mapping.backing {
        Backing::File(file) => file < group.mapped_files.len(),
        Backing::Content(content) => content < group.contents.len(),
        Backing::Segment(segment) => segment < group.segments.len() && mapping.is_shared(),
        Backing::Anonymous | Backing::Ring | Backing::Vdso | Backing::Vvar => true,
    };
    let offset = mapping.offset.checked_add(mapping.end).is_some();
    let huge = mapping.huge_page;
    let is_huge = huge_pages::is_possible(huge) && (mapping.start | mapping.end).is_multiple_of(huge);
    if huge != 0 && !(is_huge && huge_backing(group, mapping)) {
        return false;
    }
    let range = offset
        && mapping.start < mapping.end
        && mapping.end <= TOP
        && (mapping.start | mapping.end).is_multiple_of(PAGE);
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

/// Whether what a mapping of huge pages shows can consist of such.
fn huge_backing(group: &Group, mapping: &Mapping) -> bool {
    match mapping.backing {
        Backing::Anonymous => !mapping.is_shared(),
        // Whether a file with a name does, its filesystem decides.
        Backing::File(_) => true,
        Backing::Content(content) => {
            group.contents.get(content).is_some_and(|content| content.huge_page == mapping.huge_page)
        }
        Backing::Segment(segment) => {
            group.segments.get(segment).is_some_and(|segment| segment.huge_page == mapping.huge_page)
        }
        Backing::Ring | Backing::Vdso | Backing::Vvar => false,
    }
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
