//! Processes that stand still because their control group is frozen: nothing else below /proc/PID tells, for in cgroup v2
//! they look as if they slept. Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/freezer-subsystem.rst.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Process;
use crate::proc::{self, mountinfo, text};

/// Where a hierarchy is mounted, and what of it.
#[derive(Debug)]
struct Hierarchy {
    /// The path in the hierarchy that is seen at the mount point.
    root: Vec<u8>,
    mount_point: PathBuf,
    /// The file of a control group that tells.
    file: &'static str,
    /// Whether its content means frozen.
    is_frozen: fn(&[u8]) -> bool,
}

/// Marks the processes of frozen control groups as paused; each control group is asked once.
pub(super) fn mark(processes: &mut [Process]) {
    let (unified, freezer) = hierarchies();
    let mut known: HashMap<PathBuf, bool> = HashMap::new();
    for process in processes.iter_mut().filter(|process| !process.paused && !process.has_ended()) {
        let Some(cgroups) = &process.cgroups else { continue };
        let places = [(&unified, cgroups.unified()), (&freezer, cgroups.of_controller("freezer"))];
        process.paused = places.into_iter().any(|(hierarchy, path)| {
            let Some((hierarchy, path)) = hierarchy.as_ref().zip(path) else { return false };
            let Some(file) = hierarchy.file_of(path) else { return false };
            *known
                .entry(file)
                .or_insert_with_key(|file| std::fs::read(file).is_ok_and(|text| (hierarchy.is_frozen)(&text)))
        });
    }
}

/// Those of cgroup v2 and of the freezer of cgroup v1, where they are mounted.
fn hierarchies() -> (Option<Hierarchy>, Option<Hierarchy>) {
    let own = dormouse_wire::Pid(std::process::id() as i32);
    let mounts = proc::parsed(own, "mountinfo", mountinfo::parse).unwrap_or_default();
    let find = |is_it: &dyn Fn(&mountinfo::Mount) -> bool, file, is_frozen| {
        mounts.iter().find(|mount| is_it(mount)).map(|mount| Hierarchy {
            root: mount.root.clone(),
            mount_point: Path::new(OsStr::from_bytes(&mount.mount_point)).to_owned(),
            file,
            is_frozen,
        })
    };
    let has_freezer = |options: &[u8]| options.split(|byte| *byte == b',').any(|option| option == b"freezer");
    (
        find(&|mount| mount.filesystem == b"cgroup2", "cgroup.events", is_frozen_now),
        find(&|mount| mount.filesystem == b"cgroup" && has_freezer(&mount.super_options), "freezer.state", |state| {
            state.trim_ascii() == b"FROZEN"
        }),
    )
}

/// `frozen 1` in cgroup.events: all its processes stand still, whichever group above was frozen. Linux 5.2.
fn is_frozen_now(events: &[u8]) -> bool {
    text::lines(events).any(|line| line == b"frozen 1")
}

impl Hierarchy {
    /// The file of a control group; the root has none and is never frozen.
    fn file_of(&self, path: &[u8]) -> Option<PathBuf> {
        let root: &[u8] = if self.root == b"/" { b"" } else { &self.root };
        let below = path.strip_prefix(root)?.strip_prefix(b"/").filter(|below| !below.is_empty())?;
        Some(self.mount_point.join(OsStr::from_bytes(below)).join(self.file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(root: &[u8]) -> Hierarchy {
        Hierarchy { root: root.to_vec(), mount_point: "/c".into(), file: "cgroup.events", is_frozen: is_frozen_now }
    }

    #[test]
    fn a_control_group_is_found_below_what_is_mounted() {
        assert_eq!(at(b"/").file_of(b"/a/b.scope"), Some(PathBuf::from("/c/a/b.scope/cgroup.events")));
        assert_eq!(at(b"/a").file_of(b"/a/b.scope"), Some(PathBuf::from("/c/b.scope/cgroup.events")));
        assert_eq!([at(b"/").file_of(b"/"), at(b"/a").file_of(b"/a"), at(b"/a").file_of(b"/ab")], [None, None, None]);
    }

    #[test]
    fn the_kernels_words_for_frozen_are_known() {
        assert!(is_frozen_now(b"populated 1\nfrozen 1\n"));
        assert!(!is_frozen_now(b"populated 1\nfrozen 0\n"));
    }
}
