//! The mounts of a group that has a mount namespace for itself, mount_namespaces(7): each is a part of the outside, a filesystem
//! that is made anew, or one whose whole content is in the image.

// zoo: none, because a group with mounts of its own is no program: see tests/capsules

mod build;
mod look;
mod tree;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

pub use build::{Owner, build};
pub use look::{Plan, look};
pub use tree::{Entry, Tree};

use crate::image::Reader;
use crate::resource::moves::{Moving, Shown};
use crate::resource::named_file::shown;

/// All mounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounts {
    /// The filesystems that are not of the outside.
    pub filesystems: Vec<Filesystem>,
    /// The mounts, each after the one it is mounted on; the first is the root.
    pub mounts: Vec<Mount>,
}

/// A filesystem that is made anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    /// Its type: `tmpfs`, `proc`, `sysfs`, `devpts`, `mqueue`, or `overlay` over folders of the outside.
    pub kind: String,
    /// What it is mounted from: a word.
    pub source: ByteBuf,
    /// Its options, words or words with a value.
    pub options: Vec<(ByteBuf, Option<ByteBuf>)>,
    /// What is in a tmpfs, as far as it can be seen.
    pub trees: Vec<Tree>,
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The one it is mounted on, an index; none: it is the root.
    pub parent: Option<usize>,
    /// Where, as the group sees it.
    pub mount_point: ByteBuf,
    /// `MOUNT_ATTR_*`, mount_setattr(2).
    pub attributes: u64,
    /// What is mounted comes from the mount outside, MS_SLAVE.
    pub receives: bool,
    /// It spreads to the copies of it, MS_SHARED.
    pub shares: bool,
    /// What is mounted.
    pub origin: Origin,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A folder or file of the outside.
    Outside {
        /// Its path there.
        path: ByteBuf,
        /// Its type, `S_IF*`.
        file_type: u32,
    },
    /// A part of a filesystem of the group's own.
    Own {
        /// Which, an index.
        filesystem: usize,
        /// The part that is mounted: `/`, or a path in it.
        root: ByteBuf,
    },
}

/// The types of filesystems that can be made anew.
const KINDS: [&str; 6] = ["tmpfs", "proc", "sysfs", "devpts", "mqueue", "overlay"];
/// The options of an overlay that are folders of the outside.
const OF_FOLDERS: [&[u8]; 5] = [b"lowerdir", b"lowerdir+", b"datadir+", b"upperdir", b"workdir"];
/// So long is the value of an option at most, bytes: fsconfig(2).
const LONGEST_OPTION: usize = 255;
/// So many mounts a namespace has at most: /proc/sys/fs/mount-max.
const MOST: usize = 100_000;

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// Whether a path is absolute, and leads to where it says.
fn is_plain(bytes: &[u8]) -> bool {
    let mut parts = path(bytes).components();
    parts.next() == Some(Component::RootDir)
        && parts.all(|part| matches!(part, Component::Normal(_)))
        && !bytes.contains(&0)
}

impl Filesystem {
    /// Whether it belongs to the user namespace of whoever makes it, and not to that of what it shows.
    fn is_its_makers(&self) -> bool {
        matches!(self.kind.as_str(), "tmpfs" | "devpts" | "overlay")
    }

    /// The folders of the outside that an overlay consists of.
    fn folders(&self) -> impl Iterator<Item = &[u8]> {
        let is_overlay = self.kind == "overlay";
        let options = self.options.iter().filter(move |(key, _)| is_overlay && OF_FOLDERS.contains(&key.as_slice()));
        let values = options.filter_map(|(_, value)| value.as_ref());
        values.flat_map(|value| value.split(|byte| *byte == b':')).filter(|folder| !folder.is_empty())
    }
}

impl Filesystem {
    fn moved(&mut self, moving: &mut Moving<'_>) {
        let is_overlay = self.kind == "overlay";
        let options = self.options.iter_mut().filter(|(key, _)| is_overlay && OF_FOLDERS.contains(&key.as_slice()));
        for value in options.filter_map(|(_, value)| value.as_mut()) {
            let mut folders: Vec<_> = value.split(|byte| *byte == b':').map(ByteBuf::from).collect();
            for folder in &mut folders {
                moving.outside(folder);
            }
            let folders: Vec<&[u8]> = folders.iter().map(|folder| folder.as_slice()).collect();
            *value = ByteBuf::from(folders.join(&b':'));
        }
    }
}

impl Mounts {
    /// What is wrong with a record, whoever wrote it.
    pub fn verify(&self, reader: &Reader) -> Option<&'static str> {
        if self.mounts.len() > MOST || self.filesystems.len() > self.mounts.len() {
            return Some("more mounts than a system can have");
        }
        if self.mounts.first().is_none_or(|root| root.parent.is_some() || root.mount_point.as_slice() != b"/") {
            return Some("mounts without a root");
        }
        for (index, mount) in self.mounts.iter().enumerate() {
            let above = match mount.parent {
                None if index == 0 => b"/".as_slice(),
                Some(parent) if parent < index => &self.mounts[parent].mount_point,
                _ => return Some("a mount on nothing"),
            };
            if !is_plain(&mount.mount_point) || !path(&mount.mount_point).starts_with(path(above)) {
                return Some("a mount at an impossible place");
            }
            match &mount.origin {
                Origin::Outside { path, .. } if is_plain(path) => {}
                Origin::Own { filesystem, root } if *filesystem < self.filesystems.len() && is_plain(root) => {}
                _ => return Some("a mount of nothing"),
            }
        }
        let is_odd = |filesystem: &Filesystem| {
            !KINDS.contains(&filesystem.kind.as_str())
                || filesystem.folders().any(|folder| !is_plain(folder))
                || filesystem.trees.iter().any(|tree| tree.is_odd() || !tree.is_whole(reader))
        };
        if self.filesystems.iter().any(is_odd) {
            return Some("a filesystem that cannot be");
        }
        (!self.has_proc()).then_some("mounts without a /proc")
    }

    /// Whether the processes of the group are seen in /proc.
    pub fn has_proc(&self) -> bool {
        let is_proc = |mount: &Mount| {
            let Origin::Own { filesystem, root } = &mount.origin else { return false };
            mount.mount_point.as_slice() == b"/proc"
                && root.as_slice() == b"/"
                && self.filesystems.get(*filesystem).is_some_and(|filesystem| filesystem.kind == "proc")
        };
        self.mounts.iter().any(is_proc)
    }

    /// What it needs of the outside: each path, and where it is mounted.
    pub fn needed(&self) -> impl Iterator<Item = (&Path, u32, &Path)> {
        self.mounts.iter().flat_map(|mount| {
            let (outside, own) = match &mount.origin {
                Origin::Outside { path: outside, file_type } => (Some((path(outside), *file_type)), None),
                Origin::Own { filesystem, .. } => (None, self.filesystems.get(*filesystem)),
            };
            let folders = own.into_iter().flat_map(Filesystem::folders).map(|folder| (path(folder), libc::S_IFDIR));
            outside.into_iter().chain(folders).map(|(needed, file_type)| (needed, file_type, path(&mount.mount_point)))
        })
    }

    /// What of the outside is seen where.
    pub fn shown(&self) -> Vec<Shown> {
        let shown = |mount: &Mount| {
            let origin = match &mount.origin {
                Origin::Outside { path: outside, .. } => Some(path(outside).to_owned()),
                Origin::Own { .. } => None,
            };
            Shown { point: path(&mount.mount_point).to_owned(), origin }
        };
        self.mounts.iter().map(shown).collect()
    }

    /// Leads what it needs of the outside to where that has moved; where the group sees it stays.
    pub fn moved(&mut self, moving: &mut Moving<'_>) {
        for mount in &mut self.mounts {
            if let Origin::Outside { path, .. } = &mut mount.origin {
                moving.outside(path);
            }
        }
        self.filesystems.iter_mut().for_each(|filesystem| filesystem.moved(moving));
    }

    /// What of the outside is missing.
    pub fn preflight(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (needed, file_type, mount_point) in self.needed() {
            let refuse = |what: Phrase| {
                let problem = Problem::blocks(ProblemKind::File, what).at(shown(needed));
                problem.way_out(phrase!("Put it back in its place, then thaw again"))
            };
            let mounted = shown(mount_point);
            match needed.symlink_metadata() {
                Err(error) => {
                    problems.push(refuse(phrase!(
                        "it is to be mounted at {mounted}, and cannot be found: {why}",
                        mounted,
                        why = error
                    )));
                }
                Ok(found) if std::os::unix::fs::MetadataExt::mode(&found) & libc::S_IFMT != file_type => {
                    problems.push(refuse(phrase!(
                        "it is to be mounted at {mounted}, and something else has its name now",
                        mounted
                    )));
                }
                Ok(_) => {}
            }
        }
        problems
    }
}

/// A path below another one, relative to it.
fn relative(whole: &[u8], above: &[u8]) -> PathBuf {
    path(whole).strip_prefix(path(above)).map(Path::to_owned).unwrap_or_default()
}
