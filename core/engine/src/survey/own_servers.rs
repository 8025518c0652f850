//! A group that serves a filesystem to itself, fuse(4), as an AppImage does. While it stands still nobody answers for the files
//! there, and whoever asks for one waits: this has to be known before anything is asked of its files.

use std::collections::HashSet;

use dormouse_wire::{Problem, ProblemKind, phrase};

use super::collect::ProcessFacts;
use super::connections::fuse::{self, Device};
use super::connections::holdings::Holdings;
use crate::kernel::threads;
use crate::proc::{self, mountinfo};

/// Whoever of the group has something on a filesystem that the group serves; by what the kernel knows without asking.
pub fn judge(processes: &[ProcessFacts]) -> Vec<Problem> {
    let mounted = mounted(processes);
    if mounted.is_empty() || !processes.iter().any(serves) {
        return Vec::new();
    }
    let living: Vec<_> = processes.iter().filter(|process| process.living.is_some()).collect();
    let holdings: Vec<Holdings> =
        threads::each(&living, |process| Holdings::of(process.pid)).into_iter().flatten().collect();
    let mut served = HashSet::new();
    for holding in &holdings {
        for descriptor in fuse::serving(holding) {
            match fuse::connection(holding.name.pid, descriptor) {
                Some(device) => served.extend([device]),
                // Before Linux 6.18 it may be any of them.
                None => served.extend(&mounted),
            }
        }
    }
    let problem = |holding: &Holdings| {
        let (_, at) = fuse::used(holding).into_iter().find(|(device, _)| served.contains(device))?;
        let what = phrase!(
            "it lies on a filesystem that the group itself serves (FUSE): nobody can look at it while the group stands still"
        );
        Some(
            Problem::blocks(ProblemKind::File, what)
                .of(&holding.name)
                .at(at)
                .way_out(phrase!("Pause the group instead")),
        )
    };
    holdings.iter().filter_map(problem).collect()
}

/// The filesystems of this sort that the group sees.
fn mounted(processes: &[ProcessFacts]) -> HashSet<Device> {
    let mut looked = HashSet::new();
    let mut found = HashSet::new();
    for (process, living) in processes.iter().filter_map(|process| Some((process, process.living.as_ref()?))) {
        if looked.insert(living.namespaces.iter().find(|(name, _)| *name == "mnt")) {
            let mounts = proc::parsed(process.pid, "mountinfo", mountinfo::parse).unwrap_or_default();
            found.extend(mounts.iter().filter(|mount| fuse::is_fuse(&mount.filesystem)).map(|mount| mount.device));
        }
    }
    found
}

/// Whether a process has `/dev/fuse` open.
fn serves(process: &ProcessFacts) -> bool {
    let numbers = proc::list_fds(process.pid).unwrap_or_default();
    let leads = |number| proc::link(process.pid, &format!("fd/{number}"));
    numbers.into_iter().any(|number| leads(number).is_ok_and(|link| link == b"/dev/fuse"))
}
