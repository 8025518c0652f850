//! The mounts of a group that has a mount namespace for itself, mount_namespaces(7): each is a part of the outside, a filesystem
//! that is made anew, or one whose whole content is in the image.
//!
//! Some members may live in mount namespaces further in. Each of those has a table of mounts of the same form, in which the outside is the
//! mount namespace of the others, whatever one further in it was copied from: what is mounted there by name is a part of that. So one that
//! was copied and changed a little (`unshare -m`) and one put together from nothing (bubblewrap) are told alike. A filesystem that is not of
//! the outside may be mounted in several of them: those of all tables stand in one list, and each is made, and its content stored, once.
//!
//! A thaw puts them together in a workshop, a copy of the mount namespace of the engine that nobody lives in: every part of the outside is
//! taken hold of, the filesystems are made and filled there, and copies of the workshop become the namespaces, one after the other; see
//! `thaw/inner_mounts.rs`. The proc(5) of a pid namespace within the group cannot be made before somebody lives there: it, and what is mounted
//! on it, is put in its place when all first processes have been born. Nothing of this is seen by anybody else, and all of it is gone when
//! the engine is.

// zoo: none, because a group with mounts of its own is no program: see tests/capsules

pub mod build;
mod look;
mod tree;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

pub use build::{Owner, build};
pub use look::{Home, Plan, look};
pub use tree::{Entry, Tree};

use crate::image::Reader;
use crate::resource::moves::{Moving, Shown};
use crate::resource::named_file::shown;
use crate::resource::namespace::inner::{Inner, Place};

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
    /// Of one within the group: the user namespace that it belongs to, and what it shows: of pids (`proc`), networks (`sysfs`) or message
    /// queues (`mqueue`).
    #[serde(default, skip_serializing_if = "Place::is_usual")]
    pub place: Place,
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
    pub fn is_its_makers(&self) -> bool {
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
    /// Leads the folders of an overlay to where they have moved.
    pub fn moved(&mut self, mut lead: impl FnMut(&mut ByteBuf)) {
        let is_overlay = self.kind == "overlay";
        let options = self.options.iter_mut().filter(|(key, _)| is_overlay && OF_FOLDERS.contains(&key.as_slice()));
        for value in options.filter_map(|(_, value)| value.as_mut()) {
            let mut folders: Vec<_> = value.split(|byte| *byte == b':').map(ByteBuf::from).collect();
            folders.iter_mut().for_each(&mut lead);
            let folders: Vec<&[u8]> = folders.iter().map(|folder| folder.as_slice()).collect();
            *value = ByteBuf::from(folders.join(&b':'));
        }
    }
}

/// The mounts of one namespace, and the filesystems among which theirs are.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// The filesystems.
    pub filesystems: &'a [Filesystem],
    /// The mounts.
    pub mounts: &'a [Mount],
}

impl Mounts {
    fn table(&self) -> Table<'_> {
        Table { filesystems: &self.filesystems, mounts: &self.mounts }
    }

    /// What is wrong with a record, whoever wrote it.
    pub fn verify(&self, reader: &Reader) -> Option<&'static str> {
        if self.filesystems.len() > self.mounts.len() {
            return Some("more mounts than a system can have");
        }
        let odd = self.table().verify().or_else(|| verify_filesystems(&self.filesystems, reader));
        let is_further_in = |filesystem: &Filesystem| !filesystem.place.is_usual();
        if odd.is_none() && self.filesystems.iter().any(is_further_in) {
            return Some("a filesystem that cannot be");
        }
        odd.or_else(|| (!self.has_proc()).then_some("mounts without a /proc"))
    }

    /// Whether the processes of the group are seen in /proc.
    pub fn has_proc(&self) -> bool {
        let is_proc = |mount: &Mount| {
            let own = self.table().own(mount);
            mount.mount_point.as_slice() == b"/proc"
                && own.is_some_and(|(own, root)| own.kind == "proc" && root == b"/")
        };
        self.mounts.iter().any(is_proc)
    }

    /// What it needs of the outside: each path, and where it is mounted.
    pub fn needed(&self) -> impl Iterator<Item = (&Path, u32, &Path)> {
        self.table().needed()
    }

    /// What of the outside is seen where.
    pub fn shown(&self) -> Vec<Shown> {
        self.mounts.iter().map(Mount::shown).collect()
    }

    /// Leads what it needs of the outside to where that has moved; where the group sees it stays.
    pub fn moved(&mut self, moving: &mut Moving<'_>) {
        self.mounts.iter_mut().for_each(|mount| mount.moved(|path| moving.outside(path)));
        self.filesystems.iter_mut().for_each(|filesystem| filesystem.moved(|path| moving.outside(path)));
    }

    /// What of the outside is missing.
    pub fn preflight(&self) -> Vec<Problem> {
        self.table().preflight()
    }
}

impl Mount {
    /// Whether the file of a socket of the outside is mounted: it may be one that the group binds.
    pub fn is_socket(&self) -> bool {
        matches!(self.origin, Origin::Outside { file_type: libc::S_IFSOCK, .. })
    }

    /// The number of the terminal of the outside that is mounted there, as bubblewrap has it at /dev/console: at the thaw, it may be another's.
    pub fn terminal(&self) -> Option<u32> {
        let Origin::Outside { path, file_type: libc::S_IFCHR } = &self.origin else { return None };
        std::str::from_utf8(path.strip_prefix(b"/dev/pts/")?).ok()?.parse().ok()
    }

    /// What of the outside is seen where.
    pub fn shown(&self) -> Shown {
        let origin = match &self.origin {
            Origin::Outside { path: outside, .. } => Some(path(outside).to_owned()),
            Origin::Own { .. } => None,
        };
        Shown { point: path(&self.mount_point).to_owned(), origin }
    }

    /// Leads it to where what is mounted has moved.
    pub fn moved(&mut self, mut lead: impl FnMut(&mut ByteBuf)) {
        if let Origin::Outside { path, .. } = &mut self.origin {
            lead(path);
        }
    }
}

/// What is wrong with the records of filesystems, whoever wrote them.
fn verify_filesystems(filesystems: &[Filesystem], reader: &Reader) -> Option<&'static str> {
    let is_odd = |filesystem: &Filesystem| {
        !KINDS.contains(&filesystem.kind.as_str())
            || filesystem.folders().any(|folder| !is_plain(folder))
            || filesystem.trees.iter().any(|tree| tree.is_odd() || !tree.is_whole(reader))
    };
    filesystems.iter().any(is_odd).then_some("a filesystem that cannot be")
}

/// What is wrong with all that is said of mounts within a group.
pub fn verify_inner(all: &[Inner], filesystems: &[Filesystem], reader: &Reader) -> Option<&'static str> {
    let mut tables =
        all.iter().filter(|inner| inner.kind == "mnt").map(|inner| Table { filesystems, mounts: &inner.mounts });
    if let Some(odd) = tables.find_map(Table::verify) {
        return Some(odd);
    }
    let is_named = |filesystem: &Filesystem| {
        let place = filesystem.place;
        let is = |kind: &str, named: Option<usize>| {
            named.is_none_or(|index| all.get(index).is_some_and(|inner| inner.kind == kind))
        };
        let shows = |kind: &str| filesystem.kind == kind;
        is("user", place.user)
            && is("pid", place.pid)
            && is("net", place.net)
            && is("ipc", place.ipc)
            && (shows("proc") || place.pid.is_none())
            && (shows("sysfs") || place.net.is_none())
            && (shows("mqueue") || place.ipc.is_none())
    };
    if filesystems.len() > MOST || !filesystems.iter().all(is_named) {
        return Some("a filesystem that cannot be");
    }
    verify_filesystems(filesystems, reader)
}

impl<'a> Table<'a> {
    /// What is wrong with a record, whoever wrote it.
    fn verify(self) -> Option<&'static str> {
        if self.mounts.len() > MOST {
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
        None
    }

    /// The filesystem of a mount, if it is not of the outside, and which part of it is mounted.
    pub fn own(self, mount: &'a Mount) -> Option<(&'a Filesystem, &'a [u8])> {
        match &mount.origin {
            Origin::Own { filesystem, root } => Some((self.filesystems.get(*filesystem)?, root)),
            Origin::Outside { .. } => None,
        }
    }

    /// The proc(5) of its own that is at /proc.
    pub fn proc(self) -> Option<&'a Filesystem> {
        let at_place = self.mounts.iter().rfind(|mount| mount.mount_point.as_slice() == b"/proc");
        let (filesystem, root) = at_place.and_then(|mount| self.own(mount))?;
        (filesystem.kind == "proc" && root == b"/").then_some(filesystem)
    }

    /// Which of the mounts have to wait: until somebody lives in the pid namespace that they show, until a socket is bound, or for what they
    /// stand on.
    pub fn late(self) -> Vec<bool> {
        let mut late: Vec<bool> = Vec::with_capacity(self.mounts.len());
        for mount in self.mounts {
            let shows = self.own(mount).is_some_and(|(filesystem, _)| filesystem.place.pid.is_some());
            let stands_on = mount.parent.and_then(|parent| late.get(parent).copied()).unwrap_or_default();
            late.push(shows || stands_on || mount.is_socket());
        }
        late
    }

    /// What it needs of the outside: each path, and where it is mounted.
    pub fn needed(self) -> impl Iterator<Item = (&'a Path, u32, &'a Path)> {
        self.mounts.iter().flat_map(move |mount| {
            let (outside, own) = match &mount.origin {
                Origin::Outside { path: outside, file_type } => (Some((path(outside), *file_type)), None),
                Origin::Own { filesystem, .. } => (None, self.filesystems.get(*filesystem)),
            };
            let folders = own.into_iter().flat_map(Filesystem::folders).map(|folder| (path(folder), libc::S_IFDIR));
            outside.into_iter().chain(folders).map(|(needed, file_type)| (needed, file_type, path(&mount.mount_point)))
        })
    }

    /// What of the outside is missing.
    pub fn preflight(self) -> Vec<Problem> {
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
