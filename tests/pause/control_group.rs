//! A control group for a test: made in the hierarchy that is mounted, or in one that is mounted for the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::wait::until;
use nix::mount::{MsFlags, mount, umount};

/// A hierarchy with a freezer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hierarchy {
    /// cgroup v2.
    Unified,
    /// The freezer of cgroup v1.
    Old,
}

/// A control group of a test. Dropped, it is thawed and removed, with its children.
pub struct ControlGroup {
    folder: PathBuf,
    hierarchy: Hierarchy,
    /// Where a hierarchy was mounted for it.
    mounted: Option<tempfile::TempDir>,
}

impl ControlGroup {
    /// Makes one of this name; the test's own pid is part of it.
    pub fn new(hierarchy: Hierarchy, name: &str) -> Self {
        let (top, mounted) = hierarchy.top();
        let folder = top.join(format!("dormouse-test-{}-{name}", std::process::id()));
        fs::create_dir(&folder)
            .unwrap_or_else(|error| panic!("the control group {} cannot be made: {error}", folder.display()));
        Self { folder, hierarchy, mounted }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes one below; it goes away with this one.
    pub fn below(&self, name: &str) -> PathBuf {
        let folder = self.folder.join(name);
        fs::create_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        folder
    }

    /// Tells it to freeze, or to go on.
    pub fn freeze(&self, yes: bool) {
        let (file, word) = match self.hierarchy {
            Hierarchy::Unified => ("cgroup.freeze", if yes { "1" } else { "0" }),
            Hierarchy::Old => ("freezer.state", if yes { "FROZEN" } else { "THAWED" }),
        };
        fs::write(self.folder.join(file), word).unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    pub fn is_frozen(&self) -> bool {
        is_frozen(&self.folder)
    }
}

/// Whether all in a control group of cgroup v2 stand still.
pub fn is_frozen(folder: &Path) -> bool {
    fs::read_to_string(folder.join("cgroup.events")).is_ok_and(|events| events.lines().any(|line| line == "frozen 1"))
}

/// Moves processes into a control group.
pub fn enter<'a>(folder: &Path, pids: impl IntoIterator<Item = &'a i32>) {
    for pid in pids {
        // One that has ended meanwhile cannot be moved.
        let _ = fs::write(folder.join("cgroup.procs"), pid.to_string());
    }
}

impl Hierarchy {
    fn top(self) -> (PathBuf, Option<tempfile::TempDir>) {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let is_it = |line: &&str| {
            let words: Vec<&str> = line.split(' ').collect();
            let options = words.get(3).copied().unwrap_or_default();
            match self {
                Self::Unified => words.get(2) == Some(&"cgroup2"),
                Self::Old => words.get(2) == Some(&"cgroup") && options.split(',').any(|option| option == "freezer"),
            }
        };
        if let Some(line) = mounts.lines().find(is_it) {
            return (PathBuf::from(line.split(' ').nth(1).unwrap_or_default()), None);
        }
        let place = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let (kind, options) = match self {
            Self::Unified => ("cgroup2", None),
            Self::Old => ("cgroup", Some("freezer")),
        };
        mount(Some("none"), place.path(), Some(kind), MsFlags::empty(), options)
            .unwrap_or_else(|error| panic!("no {kind} is mounted here that has a freezer, and none can be: {error}"));
        (place.path().to_owned(), Some(place))
    }
}

/// A folder behind all those below it.
fn deepest_first(folder: &Path) -> Vec<PathBuf> {
    let children = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let below = children.filter(|path| path.is_dir()).flat_map(|path| deepest_first(&path));
    below.chain([folder.to_owned()]).collect()
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let thaw = |folder: &Path| match self.hierarchy {
            Hierarchy::Unified => fs::write(folder.join("cgroup.freeze"), "0"),
            Hierarchy::Old => fs::write(folder.join("freezer.state"), "THAWED"),
        };
        let folders = deepest_first(&self.folder);
        for folder in &folders {
            let _ = thaw(folder);
            let pids = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            let pids: Vec<i32> = pids.lines().filter_map(|pid| pid.parse().ok()).collect();
            enter(self.folder.parent().unwrap_or(&self.folder), &pids);
        }
        for folder in folders {
            let _ = until(Duration::from_secs(5), || fs::remove_dir(&folder).ok());
        }
        if let Some(place) = &self.mounted {
            let _ = umount(place.path());
        }
    }
}
