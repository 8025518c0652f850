//! The memory of a paused group goes to swap: `memory.reclaim` of its control group where that holds nobody else,
//! Documentation/admin-guide/cgroup-v2.rst, else process_madvise(2) with MADV_PAGEOUT.

use std::fs;
use std::io;

use dormouse_wire::{ByteSize, Pid, Reclaimed};

use super::freezer;
use crate::kernel::advice;
use crate::kernel::memory::RemoteRange;
use crate::model::RemotePtr;
use crate::proc::maps::{self, Mapping, MappingName};
use crate::proc::{self, status, text};
use crate::survey::control_group::{ControlGroup, Freezer, Hierarchies};

/// Pushes what the members hold to swap.
pub fn reclaim(members: &[Pid]) -> Reclaimed {
    if !has_swap() {
        let why_not = "the system has no swap, or none that is free, so that there is nowhere for the memory to go";
        return Reclaimed { moved: ByteSize(0), why_not: Some(why_not.to_owned()) };
    }
    let before = swapped(members);
    let why_not = match by_control_groups(members) {
        Some(()) => None,
        None => members.iter().find_map(|pid| push_out(*pid).err()),
    };
    Reclaimed { moved: ByteSize(swapped(members).saturating_sub(before)), why_not }
}

fn has_swap() -> bool {
    let free = |bytes: &[u8]| {
        let value = text::lines(bytes).find_map(|line| line.strip_prefix(b"SwapFree:")).and_then(text::kibibytes);
        Ok(value.unwrap_or(0))
    };
    proc::parsed_system("meminfo", free).is_ok_and(|free| free > 0)
}

/// How much of their memory is in swap, bytes.
fn swapped(members: &[Pid]) -> u64 {
    let memory = members.iter().filter_map(|pid| proc::parsed(*pid, "status", status::parse).ok()?.memory);
    memory.map(|memory| memory.swap).sum()
}

/// None where the groups hold others, or have no such file, or may not be written to.
fn by_control_groups(members: &[Pid]) -> Option<()> {
    let groups = freezer::fitting(&Hierarchies::mounted().ok()?, members, Freezer::Unified)?;
    groups.iter().try_for_each(|group| take_all(group).ok())
}

fn take_all(group: &ControlGroup) -> io::Result<()> {
    let size = fs::read_to_string(group.folder.join("memory.current"))?;
    match fs::write(group.folder.join("memory.reclaim"), size.trim()) {
        // Some of it could not go.
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok(()),
        written => written,
    }
}

fn push_out(pid: Pid) -> Result<(), String> {
    let mappings = proc::parsed(pid, "maps", maps::parse_maps).map_err(|error| error.to_string())?;
    let ranges: Vec<RemoteRange> = mappings.iter().filter(|mapping| goes_to_swap(mapping)).map(range).collect();
    advice::page_out(pid, &ranges).map_err(|errno| format!("the memory of pid {pid} cannot be moved: {}", errno.desc()))
}

/// What no file has: private anonymous memory.
fn goes_to_swap(mapping: &Mapping) -> bool {
    use MappingName::{Anonymous, AnonymousName, Heap, Stack};
    !mapping.shared && matches!(mapping.name, Anonymous | AnonymousName(_) | Heap | Stack)
}

fn range(mapping: &Mapping) -> RemoteRange {
    RemoteRange { start: RemotePtr(mapping.start), length: (mapping.end - mapping.start) as usize }
}
