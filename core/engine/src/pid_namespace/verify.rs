//! Which pid namespaces may be entered: those that root has made, and that differ from ours in their pids and their `/proc`
//! alone. Any other one may show its engine what its owner likes. Whole sets may be entered too: into one that an ordinary user has made, the
//! engine takes a proc(5) of its own along ([`procfs`](crate::kernel::procfs)).

use std::path::{Path, PathBuf};

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, ProcessName, phrase};

use crate::Asker;
use crate::image::Reader;
use crate::kernel::{Answer, files, namespaces, user_namespaces};
use crate::proc::mountinfo::{self, Mount};
use crate::proc::stat::State;
use crate::proc::{self, ns, status};
use crate::resource::namespace::Namespaces;
use crate::survey::collect::NAMESPACES;
use crate::survey::select;

/// What the init that a thaw makes is called.
const OUR_INIT: &[u8] = b"dormouse-init";

/// Namespaces that must be our own.
const SAME: [&str; 5] = ["cgroup", "ipc", "net", "user", "uts"];

/// A group that has a set of namespaces for itself.
#[derive(Debug)]
pub struct Capsule {
    /// The init of its pid namespace, as it is called here.
    pub init: Pid,
    /// Whoever is meant, as it is called here.
    pub meant: Pid,
    /// Who waits for it here, and does nothing else.
    pub waits: Option<Pid>,
    /// The kinds of namespaces that are not ours.
    pub own: Vec<&'static str>,
}

/// The capsule that a process lives in: root of our own user namespace has made it, or whoever has made the user namespace that comes with
/// it, and it has pids and mounts for itself. None: it lives in
/// none, or in a namespace of pids only whose init is not meant; whoever looks at it closer refuses anything else by name.
pub fn capsule(pid: Pid) -> Result<Option<Capsule>, Problem> {
    let parent = |pid: Pid| Some(proc::parsed(pid, "status", status::parse).ok()?.ppid);
    let mut pid = waited_for(pid).unwrap_or(pid);
    // Whoever is in a sandbox within it belongs to it too.
    while proc::parsed(pid, "status", status::parse).is_ok_and(|status| status.namespace_pid.len() > 2) {
        let Some(above) = parent(pid) else { break };
        pid = above;
    }
    let own = Pid(std::process::id() as i32);
    let differs = |of: Pid, name: &str| matches!((ns::read(of, name), ns::read(own, name)), (Ok(theirs), Ok(ours)) if theirs != ours);
    let status = proc::parsed(pid, "status", status::parse);
    let kinds: Vec<&'static str> = NAMESPACES.into_iter().filter(|kind| differs(pid, kind)).collect();
    let is_one = kinds.contains(&"pid") && kinds.contains(&"mnt");
    if !is_one || !status.is_ok_and(|status| status.namespace_pid.len() == 2) {
        return Ok(None);
    }
    let Some((init, _)) = numbers(pid).into_iter().find(|(_, inside)| inside.0 == 1) else { return Ok(None) };
    let is_ours = proc::read(init, "comm").is_ok_and(|name| name.trim_ascii_end() == OUR_INIT);
    if is_ours || pid != init && is_like_ours(pid) {
        return Ok(None);
    }
    let theirs: Vec<&'static str> = NAMESPACES.into_iter().filter(|kind| differs(init, kind)).collect();
    let apart =
        |kind: &&&str| !matches!((ns::read(pid, kind), ns::read(init, kind)), (Ok(one), Ok(other)) if one == other);
    if let Some(kind) = NAMESPACES.iter().find(apart) {
        let what =
            phrase!("it is in a sandbox within a sandbox: the first process there has another {kind} namespace", kind);
        let problem = Problem::blocks(ProblemKind::Namespace, what).of(&select::named(pid));
        return Err(problem
            .way_out(phrase!("Freeze the outer one, if it can live without the inner: dormouse freeze {init}", init)));
    }
    let owners = owners(init).unwrap_or_default();
    let is_strange = |kind: &&&str| !namespace_owner(init, kind).is_some_and(|owner| owners.contains(&owner));
    if let Some(kind) = theirs.iter().filter(|kind| **kind != "user").find(is_strange) {
        let what =
            phrase!("its {kind} namespace belongs to a user namespace that its first process does not live in", kind);
        return Err(Problem::blocks(ProblemKind::Namespace, what)
            .of(&select::named(pid))
            .way_out(phrase!("Pause the group instead")));
    }
    let waits = parent(init).filter(|parent| waited_for(*parent) == Some(init));
    Ok(Some(Capsule { init, meant: pid, waits, own: theirs }))
}

/// The user namespaces between that of a process and our own, and our own.
fn owners(of: Pid) -> Answer<Vec<u64>> {
    let own = files::open(Path::new("/proc/self/ns/user"), libc::O_RDONLY)?;
    let own = user_namespaces::inode(&own)?;
    let mut last = files::open(&proc::folder(of).join("ns/user"), libc::O_RDONLY)?;
    let mut all = vec![user_namespaces::inode(&last)?];
    while all.last() != Some(&own) {
        last = user_namespaces::parent(&last)?;
        all.push(user_namespaces::inode(&last)?);
    }
    Ok(all)
}

fn namespace_owner(of: Pid, kind: &str) -> Option<u64> {
    let link = files::open(&proc::folder(of).join("ns").join(kind), libc::O_RDONLY).ok()?;
    user_namespaces::inode(&user_namespaces::owner(&link).ok()?).ok()
}

/// The init of a capsule that this process has made, where it does nothing but wait for that: bubblewrap does so outside, and unshare(1).
fn waited_for(pid: Pid) -> Option<Pid> {
    const WAIT: [&[u8]; 2] = [b"bwrap", b"unshare"];
    let waits = proc::read(pid, "comm").is_ok_and(|name| WAIT.contains(&name.trim_ascii_end()));
    let [only] = proc::children(pid, pid.leader()).ok().filter(|_| waits)?[..] else { return None };
    let status = proc::parsed(only, "status", status::parse).ok()?;
    matches!(status.namespace_pid[..], [_, 1]).then_some(only)
}

/// Whether an image may make namespaces and mounts: it is root's, and root wants it woken.
pub fn trust(reader: &Reader, record: &Namespaces, asker: Option<&Asker>) -> Vec<Problem> {
    use std::os::unix::fs::MetadataExt;
    let path = reader.path().display().to_string();
    let refuse = |what: Phrase, way_out: Phrase| {
        vec![Problem::blocks(ProblemKind::Privilege, what).at(path.clone()).way_out(way_out)]
    };
    let kinds = record.own.join(", ");
    if asker.is_some_and(|asker| asker.user != 0) {
        let what = phrase!("the group had namespaces for itself ({kinds}), which only root can make again", kinds);
        return refuse(what, phrase!("An administrator can do it: sudo dormouse thaw {path}", path));
    }
    if !super::can_be_made() {
        let what = phrase!("the group had namespaces for itself ({kinds}), which Dormouse may not make here", kinds);
        return refuse(what, phrase!("Run Dormouse as root"));
    }
    match reader.metadata() {
        Ok(found) if found.uid() == 0 => Vec::new(),
        Ok(found) => {
            let what = phrase!("it belongs to user {uid}, and holds namespaces with mounts", uid = found.uid());
            refuse(what, phrase!("If you trust whoever made it, make it your own: chown root:root {path}", path))
        }
        Err(error) => {
            refuse(phrase!("whose it is cannot be told: {why}", why = error), phrase!("Copy it to another disk"))
        }
    }
}

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
