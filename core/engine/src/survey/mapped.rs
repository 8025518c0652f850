//! Whether files that are mapped can be opened again: a program may have mapped one before it gave up the rights to it, and its children
//! may have it from a parent who still has them.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use dormouse_wire::{Problem, ProblemKind, phrase};

use super::collect::{LivingFacts, ProcessFacts};
use super::files;
use crate::kernel::identity::{Acting, Identity};
use crate::kernel::{Answer, Errno, files as kernel_files, outside, procfs};
use crate::proc;
use crate::proc::maps::{DetailedMapping, MappingName, VmFlags};
use crate::resource::fd::MountsWithin;
use crate::resource::named_file::{Owner, shown};

/// Whether what is written through a mapping is in its file, which then was open for writing.
pub fn is_for_writing(mapping: &DetailedMapping) -> bool {
    mapping.flags.contains(VmFlags::MAY_SHARE) && mapping.flags.contains(VmFlags::MAY_WRITE)
}

/// Among which mounts within the group a file lies that somebody has mapped, and that is reached by this path; none: those of the others.
pub fn mounts_of<'a>(living: &'a LivingFacts, through: &Path) -> Option<&'a MountsWithin> {
    let own = living.mounts.as_ref()?;
    let mount = kernel_files::place(through).map_or(0, |place| place.mount);
    own.ids.contains(&mount).then_some(own)
}

/// The path by which what a mapping shows is reached.
pub fn reached_through(living: &LivingFacts, mapping: &DetailedMapping) -> PathBuf {
    procfs::path(format!("{}/map_files/{:x}-{:x}", living.speaker, mapping.start, mapping.end))
}

/// Who opens a mapped file, which has this name now, for a process: itself, else another member that has it mapped in the same way and
/// may.
pub fn opener(members: &[ProcessFacts], name: &[u8], mapping: &DetailedMapping, owner: &Owner) -> Answer<Owner> {
    // Of what else is in the way somebody else speaks.
    let Err(denied @ (Errno::EACCES | Errno::EPERM)) = may_open(name, is_for_writing(mapping), owner) else {
        return Ok(owner.clone());
    };
    let has_it = |living: &LivingFacts| {
        let mut all = living.mappings.iter().filter(|other| is_for_writing(other) || !is_for_writing(mapping));
        all.any(|other| (other.inode, other.device) == (mapping.inode, mapping.device) && other.name == mapping.name)
    };
    let others = members.iter().filter(|member| member.living.as_ref().is_some_and(has_it)).map(files::owner);
    let mut lenders = others.filter(|other| other != owner && may_open(name, is_for_writing(mapping), other).is_ok());
    lenders.next().ok_or(denied)
}

fn may_open(name: &[u8], for_writing: bool, owner: &Owner) -> Answer<()> {
    let path = Path::new(OsStr::from_bytes(name));
    let rights = if for_writing { libc::R_OK | libc::W_OK } else { libc::R_OK };
    // Whom the engine cannot act as is not asked.
    let Ok(_acting) = Acting::begin(&Identity::from(owner)) else { return Ok(()) };
    let here = kernel_files::may_access(path, rights);
    // It may lie outside of the mounts that the group has for itself.
    let reached = outside::known().map(|around| kernel_files::may_access(&around.reach(path), rights));
    if reached == Some(Ok(())) { Ok(()) } else { here }
}

fn mounts_index(living: &LivingFacts) -> Option<usize> {
    living.mounts.as_ref().map(|mounts| mounts.index)
}

/// Those that nobody may open again.
pub fn judge(members: &[ProcessFacts]) -> Vec<Problem> {
    let (mut all, mut problems) = (HashMap::<Owner, HashSet<(&[u8], bool, Option<usize>)>>::new(), Vec::new());
    for member in members {
        let Some(living) = &member.living else { continue };
        let owner = files::owner(member);
        let known = all.entry(owner.clone()).or_default();
        for mapping in &living.mappings {
            let MappingName::File(name) = &mapping.name else { continue };
            let is_one = mapping.inode != 0 && name.starts_with(b"/") && !proc::strip_deleted(name).1;
            if !is_one || !known.insert((name, is_for_writing(mapping), mounts_index(living))) {
                continue;
            }
            let mounts = living.mounts.as_ref().and_then(|_| mounts_of(living, &reached_through(living, mapping)));
            let opener = MountsWithin::among(mounts, || opener(members, name, mapping, &owner));
            let Err(errno) = opener.and_then(|opener| opener) else { continue };
            let what = phrase!(
                "it has mapped the file, and user {user} may not open it again: {why}",
                user = owner.user,
                why = errno.desc()
            );
            let problem = Problem::blocks(ProblemKind::File, what).of(&member.shown);
            let problem = problem.at(shown(Path::new(OsStr::from_bytes(name))));
            problems.push(problem.way_out(phrase!("Give the user the right to open it, or pause the group instead")));
        }
    }
    problems
}
