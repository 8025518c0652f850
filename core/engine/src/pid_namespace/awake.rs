//! Whether a group that is in an image runs: somebody may have woken it from there already.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use dormouse_wire::ProcessName;

use crate::image::{Reader, SectionKind};
use crate::proc;
use crate::proc::stat::{self, State};
use crate::resource::fd::path_of;
use crate::resource::group::{Group, Process};
use crate::resource::memory::layout::Executable;

/// Whether the first process of a group is there by its own number, as far as its name and its program tell.
fn is_here(group: &Group) -> bool {
    let Some(process) = group.processes.first() else { return false };
    let first = process.shown();
    let found = proc::parsed(first.pid, "stat", stat::parse);
    let is_named_so = found.is_ok_and(|found| {
        let has_ended = matches!(found.state, State::Zombie | State::Dead);
        !has_ended && String::from_utf8_lossy(&found.comm) == first.comm
    });
    is_named_so && runs_the_same(group, process)
}

/// What is not known is the same. Paths may have moved, but for the name at their end.
fn runs_the_same(group: &Group, process: &Process) -> bool {
    let was = process.alive().and_then(|alive| match alive.memory.layout.executable {
        Executable::Named(file) => group.mapped_files.get(file).map(|file| path_of(&file.path)),
        Executable::Content(_) => None,
    });
    let is = proc::link(process.pid(), "exe").ok();
    let is = is.as_ref().map(|link| Path::new(OsStr::from_bytes(proc::strip_deleted(link).0)));
    was.zip(is).is_none_or(|(was, is)| was.file_name() == is.file_name())
}

/// The first process of a group, if it runs: here, or in a pid namespace below this one; `below`: who lives there.
pub fn running<'a>(group: &Group, below: impl FnOnce() -> &'a [ProcessName]) -> Option<ProcessName> {
    let first = group.processes.first().map(Process::shown)?;
    // Every sandbox has a first process of its own, and many of them are called the same.
    let is_init = first.pid == super::INIT;
    (is_here(group) || !is_init && below().contains(&first)).then_some(first)
}

/// The same of the group that is in an image.
pub fn awake(image: &Path) -> Option<ProcessName> {
    let group: Group = Reader::open(image).ok()?.section(SectionKind::Group).ok()?;
    let below = OnceCell::new();
    running(&group, || below.get_or_init(super::below))
}
