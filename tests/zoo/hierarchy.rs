//! Control groups that a program of the zoo makes for itself, cgroups(7), wherever their hierarchies are mounted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A control group of its own. Dropped, whoever made it goes back to where it was, and the group is removed.
#[derive(Debug)]
pub struct ControlGroup {
    folder: PathBuf,
    /// Where it was before: the folder.
    before: PathBuf,
}

impl ControlGroup {
    /// Makes one below the root of the hierarchy with this controller, or of cgroup v2 where it is empty; none: it is not mounted.
    pub fn make(controller: &str, name: &str) -> io::Result<Option<Self>> {
        let Some(top) = mounted(controller) else { return Ok(None) };
        let folder = top.join(format!("zoo-{}-{name}", std::process::id()));
        fs::create_dir(&folder)?;
        let before = place(controller, "self").unwrap_or_default();
        Ok(Some(Self { folder, before: top.join(before.trim_start_matches('/')) }))
    }

    /// Makes one in it.
    pub fn below(&self, name: &str) -> io::Result<Self> {
        let folder = self.folder.join(name);
        fs::create_dir(&folder)?;
        Ok(Self { folder, before: self.before.clone() })
    }

    /// Writes to one of its files.
    pub fn write(&self, file: &str, value: &str) -> io::Result<()> {
        fs::write(self.folder.join(file), value)
    }

    /// What one of its files says.
    pub fn read(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(self.folder.join(file)).map(|text| text.trim().to_owned())
    }

    /// Its path in its hierarchy.
    pub fn path(&self, controller: &str) -> String {
        let top = mounted(controller).unwrap_or_default();
        format!("/{}", self.folder.strip_prefix(top).unwrap_or(&self.folder).display())
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        for pid in self.read("cgroup.procs").unwrap_or_default().lines() {
            let _ = fs::write(self.before.join("cgroup.procs"), pid);
        }
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Where a hierarchy is mounted, with its root.
fn mounted(controller: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let is_it = |line: &&str| {
        let (before, behind) = line.split_once(" - ").unwrap_or_default();
        let options = behind.rsplit(' ').next().unwrap_or_default();
        let kind = if controller.is_empty() { "cgroup2 " } else { "cgroup " };
        let is_whole = before.split(' ').nth(3) == Some("/");
        is_whole
            && behind.starts_with(kind)
            && (controller.is_empty() || options.split(',').any(|option| option == controller))
    };
    mounts.lines().find(is_it).and_then(|line| line.split(' ').nth(4)).map(PathBuf::from)
}

/// The path of a process (`self`) or thread (`self/task/TID`) in a hierarchy, as /proc tells it.
pub fn place(controller: &str, task: &str) -> io::Result<String> {
    let text = fs::read_to_string(Path::new("/proc").join(task).join("cgroup"))?;
    let path = text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers = parts.next()?;
        let is_it = if controller.is_empty() {
            controllers.is_empty()
        } else {
            controllers.split(',').any(|name| name == controller)
        };
        is_it.then(|| parts.next().map(str::to_owned))?
    });
    path.ok_or_else(|| io::Error::other(format!("{task} is in no control group of {controller}")))
}
