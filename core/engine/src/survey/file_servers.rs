//! Who serves files: a process of the group that has a FUSE filesystem, fuse(4). Whoever looks at a file there waits until that
//! process answers; Dormouse would wait for ever for one that it holds still.

use dormouse_wire::{Pid, Problem, ProblemKind};

use super::select::named;
use crate::proc::{self, mountinfo};

/// Refuses members that serve files. Nobody is asked for anything where no such filesystem is mounted.
pub fn none_serves(members: &[Pid]) -> Result<(), Problem> {
    let mounts = proc::parsed(Pid(std::process::id() as i32), "mountinfo", mountinfo::parse).unwrap_or_default();
    let is_served = |kind: &[u8]| kind == b"fuse" || kind == b"fuseblk" || kind.starts_with(b"fuse.");
    if !mounts.iter().any(|mount| is_served(&mount.filesystem)) {
        return Ok(());
    }
    for pid in members {
        // Whoever ends meanwhile, or may not be looked into, is told of elsewhere.
        for number in proc::list_fds(*pid).unwrap_or_default() {
            if proc::link(*pid, &format!("fd/{number}")).is_ok_and(|link| link == b"/dev/fuse") {
                let what = "it serves files (FUSE), and whoever looks at one waits for it while it stands still";
                let problem = Problem::blocks(ProblemKind::Device, what).of(&named(*pid));
                let problem = problem.at(format!("descriptor {number} (/dev/fuse)"));
                return Err(problem.way_out("Unmount its filesystem first, or pause the group instead"));
            }
        }
    }
    Ok(())
}
