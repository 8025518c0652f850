//! Where the hierarchies of control groups are mounted, wherever that is; and a group as a folder, whose files are reached
//! by it and not by a path.

// zoo: no kind

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use dormouse_wire::Pid;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::ControlGroup;
use crate::kernel::{Answer, Errno, files, outside};
use crate::proc::{self, mountinfo};

/// The hierarchies that are mounted.
#[derive(Debug, Default)]
pub struct Hierarchies(Vec<Mount>);

#[derive(Debug)]
struct Mount {
    is_unified: bool,
    /// The options of the hierarchy: its controllers are among them.
    options: Vec<String>,
    point: PathBuf,
    /// The group that is seen there.
    root: Vec<u8>,
}

impl Mount {
    fn has(&self, controllers: &[String]) -> bool {
        if controllers.is_empty() || self.is_unified {
            return controllers.is_empty() && self.is_unified;
        }
        controllers.iter().all(|controller| self.options.contains(controller))
    }
}

impl Hierarchies {
    /// Those that the engine saw before it went into namespaces of a group, if it did; none where the groups have other paths now.
    pub fn here() -> Self {
        let mounts = match outside::known() {
            Some(_) if outside::has_own("cgroup") => Vec::new(),
            Some(outside) => mountinfo::parse(outside.mounts()).unwrap_or_default(),
            None => proc::parsed(Pid(std::process::id() as i32), "mountinfo", mountinfo::parse).unwrap_or_default(),
        };
        let of_groups = mounts.into_iter().filter(|mount| matches!(&mount.filesystem[..], b"cgroup" | b"cgroup2"));
        Self(of_groups.map(Mount::from).collect())
    }

    /// Whether one with these controllers is mounted.
    pub fn has(&self, controllers: &[String]) -> bool {
        self.0.iter().any(|mount| mount.has(controllers))
    }

    /// The folder that is the mount point of a hierarchy, and the names that lead from it to the group. It is not found where the group
    /// lies outside of what is mounted.
    pub fn way<'a>(&self, group: &'a ControlGroup) -> Option<(Folder, Vec<&'a [u8]>)> {
        self.0.iter().filter(|mount| mount.has(&group.controllers)).find_map(|mount| {
            let below = if mount.root == b"/" { &group.path[..] } else { group.path.strip_prefix(&mount.root[..])? };
            if !below.is_empty() && !below.starts_with(b"/") {
                return None;
            }
            let top = Folder::top(mount).ok()?;
            Some((top, super::names(below).collect()))
        })
    }

    /// The folder of a group.
    pub fn folder(&self, group: &ControlGroup) -> Option<Folder> {
        let (top, names) = self.way(group)?;
        names.into_iter().try_fold(top, |folder, name| folder.below(name).ok())
    }
}

impl From<mountinfo::Mount> for Mount {
    fn from(mount: mountinfo::Mount) -> Self {
        let options = mount.super_options.split(|byte| *byte == b',');
        Self {
            is_unified: mount.filesystem == b"cgroup2",
            options: options.map(|option| String::from_utf8_lossy(option).into_owned()).collect(),
            point: PathBuf::from(OsStr::from_bytes(&mount.mount_point)),
            root: mount.root,
        }
    }
}

/// A control group as a folder.
#[derive(Debug)]
pub struct Folder(OwnedFd);

impl Folder {
    fn top(mount: &Mount) -> Answer<Self> {
        // statfs(2).
        const CGROUP: i64 = 0x27_e0eb;
        const CGROUP2: i64 = 0x6367_7270;
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let folder = match outside::known() {
            Some(outside) => outside.open(&mount.point, flags)?,
            None => files::open(&mount.point, flags)?,
        };
        // Something else may be mounted over it.
        let expected = if mount.is_unified { CGROUP2 } else { CGROUP };
        if files::filesystem(&folder)? == expected { Ok(Self(folder)) } else { Err(Errno::ENOENT) }
    }

    /// The group of this name in it.
    pub fn below(&self, name: &[u8]) -> Answer<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.0, OsStr::from_bytes(name), flags, Mode::empty()).map(Self)
    }

    /// Makes a group of this name in it; it must not be there.
    pub fn make(&self, name: &[u8]) -> Answer<Self> {
        mkdirat(&self.0, OsStr::from_bytes(name), Mode::from_bits_truncate(0o755))?;
        self.below(name)
    }

    /// Removes a group in which nobody is.
    pub fn remove(&self, name: &[u8]) -> Answer<()> {
        unlinkat(&self.0, OsStr::from_bytes(name), UnlinkatFlags::RemoveDir)
    }

    /// What one of its files says, without the white space around it. None: there is no such file, or it cannot be read.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        const MOST: u64 = 1 << 16;
        let file = openat(&self.0, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
        let mut text = Vec::new();
        std::fs::File::from(file).take(MOST).read_to_end(&mut text).ok()?;
        Some(text.trim_ascii().to_vec())
    }

    /// Opens one of its files to write to it.
    pub fn open(&self, name: &str) -> Answer<std::fs::File> {
        openat(&self.0, name, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()).map(std::fs::File::from)
    }

    /// Writes to one of its files, at once.
    pub fn write(&self, name: &str, value: &[u8]) -> Answer<()> {
        let written = self.open(name)?.write_all(value);
        written.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
    }
}

#[cfg(test)]
mod tests {
    use serde_bytes::ByteBuf;

    use super::*;

    fn mounted(text: &[u8]) -> Hierarchies {
        let mounts = mountinfo::parse(text).unwrap_or_default();
        Hierarchies(mounts.into_iter().map(Mount::from).collect())
    }

    #[test]
    fn a_hierarchy_is_known_by_its_controllers() {
        let found = mounted(
            b"41 31 0:38 / /c rw - cgroup none rw,cpuacct,cpu\n42 31 0:39 / /s rw - cgroup none rw,xattr,name=systemd\n",
        );
        let has = |names: &[&str]| found.has(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert!(has(&["cpu", "cpuacct"]) && has(&["name=systemd"]));
        assert!(!has(&["cpu", "memory"]) && !has(&[]));
        assert!(mounted(b"43 31 0:40 /x /u rw - cgroup2 none rw\n").has(&[]));
    }

    #[test]
    fn whoever_is_found_in_a_hierarchy_has_a_folder_there() {
        let hierarchies = Hierarchies::here();
        for membership in
            proc::parsed(Pid(std::process::id() as i32), "cgroup", proc::cgroup::parse).unwrap_or_default()
        {
            let path = ByteBuf::from(membership.path);
            let group = ControlGroup { controllers: membership.controllers, path, ..ControlGroup::default() };
            if hierarchies.has(&group.controllers) {
                let procs = hierarchies.folder(&group).and_then(|folder| folder.read("cgroup.procs"));
                assert!(procs.is_some(), "{group:?}");
            }
        }
    }
}
