//! Which pid namespaces may be entered: those that root has made, and that differ from ours in their pids and their `/proc`
//! alone. Any other one may show its engine what its owner likes.

use std::path::PathBuf;

use dormouse_wire::{Pid, ProcessName};

use crate::kernel::namespaces;
use crate::proc::mountinfo::{self, Mount};
use crate::proc::stat::State;
use crate::proc::{self, ns, status};

/// Namespaces that must be our own.
const SAME: [&str; 5] = ["cgroup", "ipc", "net", "user", "uts"];

/// Whether a process lives in such a namespace.
pub fn is_like_ours(pid: Pid) -> bool {
    let own = Pid(std::process::id() as i32);
    let same =
        |name: &str| matches!((ns::read(pid, name), ns::read(own, name)), (Ok(theirs), Ok(ours)) if theirs == ours);
    let other =
        |name: &str| matches!((ns::read(pid, name), ns::read(own, name)), (Ok(theirs), Ok(ours)) if theirs != ours);
    if !(other("pid") && other("mnt") && SAME.iter().all(|name| same(name))) {
        return false;
    }
    let one_below = proc::parsed(pid, "status", status::parse).is_ok_and(|status| status.namespace_pid.len() == 2);
    one_below && ["pid", "mnt"].iter().all(|name| is_of_our_owner(pid, own, name)) && has_our_mounts(pid, own)
}

/// Whether only root of our own user namespace can have made it.
fn is_of_our_owner(pid: Pid, own: Pid, name: &str) -> bool {
    let link = |pid: Pid| -> PathBuf { proc::folder(pid).join("ns").join(name) };
    matches!((namespaces::owner(&link(pid)), namespaces::owner(&link(own))), (Ok(theirs), Ok(ours)) if theirs == ours)
}

/// Whether the mounts are ours, but for a `/proc`.
fn has_our_mounts(pid: Pid, own: Pid) -> bool {
    let mounts = |pid: Pid| proc::parsed(pid, "mountinfo", mountinfo::parse);
    let (Ok(theirs), Ok(ours)) = (mounts(pid), mounts(own)) else { return false };
    let told = |mounts: Vec<Mount>| {
        let mut told: Vec<_> = mounts
            .into_iter()
            .filter(|mount| !(mount.mount_point == b"/proc" && mount.filesystem == b"proc" && mount.root == b"/"))
            .map(|mount| (mount.mount_point, mount.device, mount.root, mount.options))
            .collect();
        told.sort();
        told
    };
    told(theirs) == told(ours)
}

/// The processes one pid namespace below ours, each by its number there and its name; those that have ended do not count.
pub fn below() -> Vec<ProcessName> {
    let named = |pid: Pid| {
        let status = proc::parsed(pid, "status", status::parse).ok()?;
        let [_, inside] = status.namespace_pid[..] else { return None };
        let lives = !matches!(status.state, State::Zombie | State::Dead);
        lives.then(|| ProcessName { pid: Pid(inside), comm: String::from_utf8_lossy(&status.name).into_owned() })
    };
    proc::list_pids().unwrap_or_default().into_iter().filter_map(named).collect()
}

/// What the processes of the namespace of this one are called outside and inside.
pub fn numbers(pid: Pid) -> Vec<(Pid, Pid)> {
    let namespace = ns::read(pid, "pid").ok();
    let here = |pid: &Pid| namespace.is_some() && ns::read(*pid, "pid").ok() == namespace;
    let inside = |pid: Pid| {
        let status = proc::parsed(pid, "status", status::parse).ok()?;
        Some((pid, Pid(*status.namespace_pid.last()?)))
    };
    proc::list_pids().unwrap_or_default().into_iter().filter(here).filter_map(inside).collect()
}
