//! The address space of a process being built: empty but for the engine's pages, or what its parent left it; then the
//! mappings of its record.

use dormouse_wire::{Pid, Problem, ProblemKind, phrase};

use super::objects::Objects;
use super::parts::Parts;
use super::tree::{Built, failed};
use super::vdsos::Vdsos;
use crate::arguments;
use crate::kernel::{ia32, ptrace};
use crate::model::RemotePtr;
use crate::proc;
use crate::proc::maps::{MappingName, parse_maps};
use crate::puppet::stage::{Stage, find_instruction};
use crate::puppet::{Batch, Ground, arch};
use crate::resource::group::{Alive, Group};
use crate::resource::memory::inherit::{Range, inherited, without};
use crate::resource::memory::mapping::{Mapping, PAGE, Source};
use crate::resource::task::futexes;

/// Where the engine's pages are, in every process of the group, and room to put the vdso aside.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The engine's pages.
    pub stage: RemotePtr,
    /// For how many threads they have desks.
    pub threads: usize,
    /// Room for the vdso and its data.
    pub parking: RemotePtr,
    /// They stay there, for the group has an older one where it expects it.
    pub stays_parked: bool,
}

/// How much room that is.
pub const PARKING: u64 = 1 << 20;

impl Place {
    /// Finds addresses that neither the engine nor any process of the group uses; such as 32-bit programs can name, if there are any.
    pub fn find(group: &Group) -> Result<Self, Problem> {
        const ALIGNMENT: u64 = 2 << 20;
        let narrow = group.processes.iter().filter_map(|process| process.alive()).any(Alive::is_narrow);
        let (lowest, highest) =
            if narrow { (16 << 20, arch::NARROW_END) } else { (arch::NARROW_END, 0x7000_0000_0000) };
        let threads =
            group.processes.iter().filter_map(|process| process.alive()).map(|alive| alive.threads.len()).max();
        let threads = threads.unwrap_or(1).max(1);
        let length = Stage::length(threads) + PARKING;
        let mut used: Vec<Range> = own_mappings()?;
        used.extend(group.processes.iter().filter_map(|process| process.alive()).flat_map(|alive| {
            alive.memory.mappings.iter().map(|mapping| Range { start: mapping.start, end: mapping.end })
        }));
        used.sort_by_key(|range| range.start);
        let mut at = lowest;
        for range in used {
            // A stack that grows down wants room below it.
            if range.start >= at + length + ALIGNMENT {
                break;
            }
            at = at.max(range.end.next_multiple_of(ALIGNMENT));
        }
        if at + length > highest {
            return Err(Problem::blocks(
                ProblemKind::Memory,
                phrase!("no addresses are free in all processes of the group"),
            ));
        }
        Ok(Self { stage: RemotePtr(at), threads, parking: RemotePtr(at + Stage::length(threads)), stays_parked: false })
    }
}

fn mappings_of(pid: Pid) -> Result<Vec<proc::maps::Mapping>, Problem> {
    proc::parsed(pid, "maps", parse_maps).map_err(|error| Problem::blocks(ProblemKind::Memory, error.said()))
}

fn own_mappings() -> Result<Vec<Range>, Problem> {
    let own = mappings_of(Pid(std::process::id() as i32))?;
    Ok(own.iter().map(|mapping| Range { start: mapping.start, end: mapping.end }).collect())
}

/// Empties the address space of a process that was copied from the engine.
pub fn strip(built: &mut Built, place: Place) -> Result<(), Problem> {
    let shown = built.shown.clone();
    let Some(leader) = built.puppets.first_mut() else { return Ok(()) };
    let mappings = mappings_of(leader.pid)?;
    let kernels = |name: &MappingName| matches!(name, MappingName::Vdso | MappingName::Vvar | MappingName::VvarVclock);
    let vdso = mappings.iter().find(|mapping| mapping.name == MappingName::Vdso);
    let instruction = vdso.and_then(|vdso| find_instruction(leader, RemotePtr(vdso.start), RemotePtr(vdso.end)));
    let instruction = instruction.ok_or_else(|| {
        let what = phrase!("this kernel gives processes no vdso, and Dormouse cannot build any without it");
        Problem::blocks(ProblemKind::Kernel, what).way_out(phrase!("Boot without vdso=0"))
    })?;
    let stage = Stage::build(leader, Ground::Instruction(instruction), Some(place.stage), place.threads)
        .map_err(|error| failed(&error, &shown))?;
    let area = ptrace::restartable_sequences(leader.tid).map_err(|errno| {
        let what = phrase!(
            "its restartable sequences cannot be read (Linux 5.13 or later is wanted): {why}",
            why = errno.desc()
        );
        Problem::blocks(ProblemKind::Kernel, what).of(&shown)
    })?;
    built.stage = stage;
    built.instruction = instruction;
    built.kernel = mappings
        .iter()
        .filter(|mapping| kernels(&mapping.name))
        .map(|mapping| Range { start: mapping.start, end: mapping.end })
        .collect();
    let mut batch = Batch::new();
    futexes::unregister(area, &mut batch);
    let gone = mappings.iter().filter(|mapping| mapping.name != MappingName::Vsyscall && !kernels(&mapping.name));
    for mapping in gone {
        unmap(&mut batch, Range { start: mapping.start, end: mapping.end });
    }
    if place.stays_parked {
        park(built, place, &mut batch);
    }
    built.run(&mut batch)?;
    if place.stays_parked {
        let mut at = place.parking.0;
        for range in &mut built.kernel {
            if (range.start..range.end).contains(&built.instruction.0) {
                built.instruction = RemotePtr(at + (built.instruction.0 - range.start));
            }
            *range = Range { start: at, end: at + (range.end - range.start) };
            at = range.end;
        }
    }
    Ok(())
}

fn unmap(batch: &mut Batch, range: Range) {
    batch.must("unmap memory", libc::SYS_munmap, arguments![range.start, range.end - range.start]);
}

/// Makes the mappings of a process; `parent`: whose memory it was born with.
pub fn build(
    built: &mut Built,
    alive: &Alive,
    parent: Option<&Alive>,
    objects: &Objects,
    (place, vdsos): (Place, &Vdsos),
) -> Result<(), Problem> {
    let mut batch = Batch::new();
    let inheritance = parent.map(|parent| parent.memory.mappings.as_slice()).unwrap_or_default();
    let kept: Vec<Vec<Range>> = alive.memory.mappings.iter().map(|mapping| kept(mapping, inheritance)).collect();
    let all_kept: Vec<Range> = kept.iter().flatten().copied().collect();
    let kernel: Vec<&Mapping> = alive.memory.mappings.iter().filter(|mapping| mapping.is_of_the_kernel()).collect();
    let parks = if built.narrow == alive.ia32 {
        let moves = moves(built, &kernel);
        if moves {
            park(built, place, &mut batch);
        }
        moves
    } else {
        change(built, alive.ia32, vdsos, place, &mut batch)?;
        !kernel.is_empty()
    };
    has_their_layout(built, &kernel)?;
    for mapping in inheritance.iter().filter(|mapping| !mapping.is_of_the_kernel()) {
        for range in without(Range { start: mapping.start, end: mapping.end }, &all_kept) {
            unmap(&mut batch, range);
        }
    }
    if parks {
        unpark(built, place, &kernel, &mut batch);
    }
    let mappings = &alive.memory.mappings;
    let parts = Parts { mappings, kept: &kept, kernel: &built.kernel, place };
    let continues = |index: usize| {
        let before = index.checked_sub(1).filter(|before| kept[*before].is_empty() && kept[index].is_empty());
        before.is_some_and(|before| mappings[index].continues(&mappings[before]))
    };
    for (index, (mapping, kept)) in mappings.iter().zip(&kept).enumerate() {
        if mapping.is_of_the_kernel() {
            continue;
        }
        let file = objects.of_mapping(mapping.backing);
        let part = parts.is_one(index, objects);
        let pieces = (index + 1..mappings.len()).take_while(|next| continues(*next)).count();
        for range in without(Range { start: mapping.start, end: mapping.end }, kept) {
            if let Some(segment) = part {
                parts.bring(index, range, segment, &mut batch);
            } else if continues(index) {
                // It was mapped along with the one before it.
                protect(mapping, range, &mut batch);
            } else {
                let end = if pieces == 0 { range.end } else { mappings[index + pieces].end };
                mapping.map(range.start, end, file, &mut batch);
            }
        }
        drop_pages(mapping, kept, inheritance, &mut batch);
        prepare(mapping, kept, &mut batch);
    }
    built.run(&mut batch)
}

/// What of a mapping its parent has left.
fn kept(mapping: &Mapping, parent: &[Mapping]) -> Vec<Range> {
    if mapping.is_of_the_kernel() { Vec::new() } else { inherited(mapping, parent) }
}

/// Pages that the parent had when it made the child, and the child does not have: they read as zeros, or as the file.
fn drop_pages(mapping: &Mapping, kept: &[Range], parent: &[Mapping], batch: &mut Batch) {
    if mapping.is_shared() {
        return;
    }
    let address = |mapping: &Mapping, page: u64| mapping.start + page * PAGE;
    let inherited: Vec<Range> = mapping
        .pages
        .iter()
        .filter(|run| run.source == Source::Inherited)
        .map(|run| Range { start: address(mapping, run.page), end: address(mapping, run.page + run.count) })
        .collect();
    // Huge pages can be dropped as a whole only: runs that follow each other are one.
    let mut dropped: Vec<Range> = Vec::new();
    for range in kept {
        for above in parent.iter().filter(|above| above.start < range.end && above.end > range.start) {
            for run in &above.pages {
                let start = address(above, run.page).max(range.start);
                let end = address(above, run.page + run.count).min(range.end);
                if start >= end {
                    continue;
                }
                for gone in without(Range { start, end }, &inherited) {
                    match dropped.last_mut() {
                        Some(last) if last.end == gone.start => last.end = gone.end,
                        _ => dropped.push(gone),
                    }
                }
            }
        }
    }
    for gone in dropped {
        let arguments = arguments![gone.start, gone.end - gone.start, libc::MADV_DONTNEED];
        batch.must("drop pages of the parent", libc::SYS_madvise, arguments);
    }
}

/// Its first protection for a part of a mapping that is there already.
fn protect(mapping: &Mapping, range: Range, batch: &mut Batch) {
    let arguments = arguments![range.start, range.end - range.start, mapping.first_protection()];
    batch.must("prepare a mapping", libc::SYS_mprotect, arguments);
}

/// Makes what was kept writable where it must be filled, and asks for huge pages early: filling is what makes them.
fn prepare(mapping: &Mapping, kept: &[Range], batch: &mut Batch) {
    use crate::proc::maps::VmFlags;
    for range in kept {
        protect(mapping, *range, batch);
    }
    if mapping.flags.contains(VmFlags::HUGE_PAGE) {
        batch.must(
            "ask for huge pages",
            libc::SYS_madvise,
            arguments![mapping.start, mapping.length(), libc::MADV_HUGEPAGE],
        );
    }
}

/// Whether the kernel's own mappings are not where the record has them.
fn moves(built: &Built, wanted: &[&Mapping]) -> bool {
    built.kernel.iter().zip(wanted).any(|(range, mapping)| range.start != mapping.start)
}

/// Takes on what the kernel has for programs of the other sort, in the room to put the vdso aside: a process has one vdso only.
fn change(built: &mut Built, narrow: bool, vdsos: &Vdsos, place: Place, batch: &mut Batch) -> Result<(), Problem> {
    let here = vdsos.here(narrow).and_then(|here| Some((here, here.instruction()?)));
    let (here, instruction) = here.ok_or_else(|| {
        let what = phrase!("this kernel has no vdso for programs of its sort");
        Problem::blocks(ProblemKind::Kernel, what).of(&built.shown)
    })?;
    built.kernel.iter().for_each(|range| unmap(batch, *range));
    let which = if narrow { ia32::ARCH_MAP_VDSO_32 } else { ia32::ARCH_MAP_VDSO_64 };
    batch.must("take on the vdso of another sort of programs", libc::SYS_arch_prctl, arguments![which, place.parking]);
    let mut at = place.parking.0;
    let ranges = here.lengths.iter().map(|length| {
        at += length;
        Range { start: at - length, end: at }
    });
    built.kernel = ranges.collect();
    built.instruction = place.parking + instruction;
    built.narrow = narrow;
    Ok(())
}

/// Whether the kernel's own mappings are as those of the record.
fn has_their_layout(built: &Built, wanted: &[&Mapping]) -> Result<(), Problem> {
    let sizes =
        |ranges: &mut dyn Iterator<Item = (u64, u64)>| ranges.map(|(start, end)| end - start).collect::<Vec<_>>();
    let here = sizes(&mut built.kernel.iter().map(|range| (range.start, range.end)));
    let there = sizes(&mut wanted.iter().map(|mapping| (mapping.start, mapping.end)));
    if !there.is_empty() && here != there {
        let what = phrase!("the vdso of this kernel has another layout than the one it was frozen under");
        return Err(Problem::blocks(ProblemKind::Kernel, what).of(&built.shown));
    }
    Ok(())
}

fn mremap(batch: &mut Batch, from: Range, to: u64) {
    let length = from.end - from.start;
    batch.must(
        "move the vdso",
        libc::SYS_mremap,
        arguments![from.start, length, length, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, to],
    );
}

fn park(built: &Built, place: Place, batch: &mut Batch) {
    let mut at = place.parking.0;
    for range in &built.kernel {
        mremap(batch, *range, at);
        at += range.end - range.start;
    }
}

fn unpark(built: &mut Built, place: Place, wanted: &[&Mapping], batch: &mut Batch) {
    let mut at = place.parking.0;
    let mut instruction = built.instruction;
    for (range, mapping) in built.kernel.iter_mut().zip(wanted) {
        let parked = Range { start: at, end: at + (range.end - range.start) };
        mremap(batch, parked, mapping.start);
        if (range.start..range.end).contains(&built.instruction.0) {
            instruction = RemotePtr(mapping.start + (built.instruction.0 - range.start));
        }
        *range = Range { start: mapping.start, end: mapping.end };
        at = parked.end;
    }
    built.instruction = instruction;
}
