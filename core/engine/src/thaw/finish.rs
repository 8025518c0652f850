//! What remains to be given to each process, in the order in which the kernel takes it: names and files, signals and
//! timers, limits, credentials last.

use std::collections::HashSet;

use dormouse_wire::{FdNumber, Pid, Problem, ProblemKind, phrase};

use super::filters;
use super::home::{self, Home};
use super::inner::InnerMade;
use super::objects::Objects;
use super::tree::{Built, Tree, failed};
use super::watches;
use crate::arguments;
use crate::puppet::{Batch, Call, run_together};
use crate::resource::fd::{FileId, FileTable, Finish, OpenFile, kind_named, leases, locks, notify};
use crate::resource::group::{Alive, Group};
use crate::resource::memory::{Memory, layout, own_segments, protection_keys, ring};
use crate::resource::namespace::inner::called;
use crate::resource::task::{attributes, credentials, futexes, limits, scheduling, signals, timers};

/// Finishes every process; answers what could not be given back and can be done without.
///
/// `mighty`: the image is to be believed more than the users in it; else each goes to its place with its own rights.
pub fn finish(
    tree: &mut Tree,
    group: &Group,
    objects: &Objects,
    inner: &InnerMade,
    mighty: bool,
) -> Result<Vec<Problem>, Problem> {
    let restore_ids = crate::kernel::features::timer_ids();
    let (mut tables, mut filesystems, mut told) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut losses = Vec::new();
    layouts(tree, group, objects)?;
    watches::restore(tree, group, objects)?;
    (0..group.processes.len()).try_for_each(|index| home::lead_children(tree, index, group))?;
    for (process, built) in group.processes.iter().zip(&mut tree.built) {
        let (Some(alive), Some(built)) = (process.alive(), built.as_mut()) else { continue };
        rings(built, alive)?;
        let mut batch = Batch::new();
        let home = Home { group, inner, process };
        if filesystems.insert(alive.filesystem) {
            let place = &group.filesystems[alive.filesystem];
            home.go_to(place, alive, mighty, (built, &mut tree.numbers))?;
        }
        let table = Some(&group.file_tables[alive.file_table]).filter(|_| tables.insert(alive.file_table));
        if let Some(table) = table {
            files(table, objects, &mut batch)?;
            let pid = process.pid();
            each(group, table, pid, &mut batch, |file, finish| kind_named(file)?.finish(file, finish))?;
            each(group, table, pid, &mut batch, |file, finish| {
                locks::restore(file, finish);
                Ok(())
            })?;
        }
        memory(&alive.memory, &mut batch);
        built.run(&mut batch)?;
        signals_and_timers(built, alive, &home, restore_ids)?;
        filters::restore(built, alive)?;
        threads(built, alive, &home)?;
        if let Some(table) = table {
            losses.extend(told_of(group, table, built, &mut told)?);
        }
        for (name, error) in
            attributes::write_process(&alive.attributes, process.pid(), !process.family.session_outside)
        {
            let what = phrase!("/proc/{pid}/{name} cannot be written: {why}", pid = process.pid(), name, why = error);
            losses.push(Problem::loses(ProblemKind::Process, what, phrase!("its {name}", name)).of(&process.shown()));
        }
    }
    tree.numbers.dismiss();
    losses.extend(inner.limit(group));
    Ok(losses)
}

/// Whom its files tell of I/O, and its leases, once it has its own user again: of each file once. Answers leases that are lost.
fn told_of(
    group: &Group,
    table: &FileTable,
    built: &mut Built,
    told: &mut HashSet<FileId>,
) -> Result<Vec<Problem>, Problem> {
    let mut batch = Batch::new();
    let mut taken = Vec::new();
    for entry in table.entries.iter().filter(|entry| told.insert(entry.file)) {
        let file = &group.open_files[entry.file.0];
        let mut finish = Finish { pid: built.shown.pid, number: entry.number, table, batch: &mut batch };
        notify::restore(file, &mut finish);
        taken.extend(leases::restore(file, &mut finish).map(|call| (entry.number, call)));
    }
    built.run(&mut batch)?;
    let lost = |(number, call): (FdNumber, Call)| {
        leases::lost(&batch, call).map(|problem| problem.of(&built.shown).at(phrase!("descriptor {number}", number)))
    };
    Ok(taken.into_iter().filter_map(lost).collect())
}

/// Its contexts for asynchronous I/O, each in the place that was kept for it.
fn rings(built: &mut Built, alive: &Alive) -> Result<(), Problem> {
    for ring in &alive.memory.rings {
        let mapping = alive.memory.mappings.iter().find(|mapping| mapping.start == ring.start);
        let (Some(mapping), Some(leader)) = (mapping, built.puppets.first_mut()) else { continue };
        let made = ring::restore(ring, mapping, leader, &built.stage).map_err(|error| failed(&error, &built.shown))?;
        if !made {
            let what = phrase!(
                "this machine has more processors, and with them contexts for asynchronous I/O (io_setup) are larger than those it had"
            );
            let problem = Problem::blocks(ProblemKind::Kernel, what).of(&built.shown);
            return Err(problem.way_out(phrase!("Thaw it on a machine with as many processors as it was frozen on")));
        }
    }
    Ok(())
}

/// What mappings get once they are filled and the children have been made.
fn memory(record: &Memory, batch: &mut Batch) {
    protection_keys::take(&record.protection_keys, &record.mappings, batch);
    for mapping in record.mappings.iter().filter(|mapping| !mapping.is_of_the_kernel()) {
        mapping.finish(&record.protection_keys, batch);
    }
    protection_keys::give_back(&record.protection_keys, &record.mappings, batch);
    own_segments::restore(&record.own_segments, batch);
    if record.lock_future != 0 {
        batch.must("lock memory to come", libc::SYS_mlockall, arguments![record.lock_future]);
    }
}

/// The layout of every process, as long as all still have the executables open: the first one of several with one table
/// closes them for all.
fn layouts(tree: &mut Tree, group: &Group, objects: &Objects) -> Result<(), Problem> {
    for (process, built) in group.processes.iter().zip(&mut tree.built) {
        let (Some(alive), Some(built)) = (process.alive(), built.as_mut()) else { continue };
        if let Some(executable) = objects.of_executable(alive.memory.layout.executable) {
            let mut batch = Batch::new();
            layout::restore(&alive.memory.layout, executable, &mut batch);
            built.run(&mut batch)?;
        }
    }
    Ok(())
}

/// Does something about each descriptor of a table.
fn each(
    group: &Group,
    table: &FileTable,
    pid: Pid,
    batch: &mut Batch,
    work: impl Fn(&OpenFile, &mut Finish<'_>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    table.entries.iter().try_for_each(|entry| {
        let mut finish = Finish { pid, number: entry.number, table, batch };
        work(&group.open_files[entry.file.0], &mut finish)
    })
}

/// Descriptors under their own numbers, and no others.
fn files(table: &FileTable, objects: &Objects, batch: &mut Batch) -> Result<(), Problem> {
    let mut next = 0;
    for entry in &table.entries {
        let source = objects.open_file(entry.file).ok_or_else(|| {
            Problem::blocks(ProblemKind::Image, phrase!("a descriptor stands for a file that was not made"))
        })?;
        let flags = if entry.close_on_exec { libc::O_CLOEXEC } else { 0 };
        batch.must(
            format!("put descriptor {} in its place", entry.number),
            libc::SYS_dup3,
            arguments![std::os::fd::AsRawFd::as_raw_fd(source), entry.number.0, flags],
        );
        if entry.number.0 > next {
            close(batch, next, entry.number.0 - 1);
        }
        next = entry.number.0 + 1;
    }
    close(batch, next, i32::MAX);
    Ok(())
}

fn close(batch: &mut Batch, first: i32, last: i32) {
    batch.must("close the engine's descriptors", libc::SYS_close_range, arguments![first, last, 0]);
}

fn signals_and_timers(built: &mut Built, alive: &Alive, home: &Home<'_>, restore_ids: bool) -> Result<(), Problem> {
    let mut batch = Batch::new();
    // The ends of the zombies, which the group has seen already.
    signals::forget(libc::SIGCHLD, &mut batch);
    signals::restore_dispositions(&alive.dispositions, alive.ia32, &mut batch);
    timers::create(&home::timers(alive), restore_ids, &mut batch);
    attributes::restore_process(&alive.attributes, &mut batch);
    signals::restore_pending(&alive.pending, called(home.process).0, None, &mut batch);
    let waiting = alive.pending.iter().chain(alive.threads.iter().flat_map(|thread| &thread.signals.pending));
    let fired: Vec<i32> = waiting.filter_map(|info| signals::timer_of(info)).collect();
    timers::arm(&alive.timers, &fired, &mut batch);
    let is_set = home.is_elsewhere().then(|| limits::restore_from_outside(&alive.limits, built.shown.pid));
    let is_set = is_set.transpose().map_err(|errno| {
        let what = phrase!("its limits cannot be set: {why}", why = errno.desc());
        Problem::blocks(ProblemKind::Limit, what).of(&built.shown)
    })?;
    if is_set != Some(true) {
        limits::restore(&alive.limits, &mut batch);
    }
    built.run(&mut batch)
}

/// What each thread has for itself, in all threads at the same time.
fn threads(built: &mut Built, alive: &Alive, home: &Home<'_>) -> Result<(), Problem> {
    let mut batches = Vec::with_capacity(alive.threads.len());
    for thread in &alive.threads {
        let mut batch = Batch::new();
        if alive.attributes.tiles && thread.registers.holds_tiles() {
            batch.use_tiles();
        }
        signals::restore_stack(&thread.signals, &mut batch);
        let (process, own) = (called(home.process).0, thread.called().0);
        signals::restore_pending(&thread.signals.pending, process, Some(own), &mut batch);
        attributes::restore_thread(&thread.attributes, &mut batch);
        scheduling::restore(&thread.scheduling, &mut batch);
        futexes::restore(&thread.futexes, &mut batch);
        let (inner, own) = home.given(&thread.credentials)?;
        credentials::restore(&inner, own, &mut batch);
        attributes::restore_death_signal(&thread.attributes, &mut batch);
        batches.push(batch);
    }
    run_together(&mut built.puppets, &built.stage, &mut batches).map_err(|error| failed(&error, &built.shown))?;
    let mut last = Batch::new();
    attributes::restore_process_last(&alive.attributes, &mut last);
    built.run(&mut last)
}
