//! What is in a filesystem that lives in memory, tmpfs(5): files of every type, with all that belongs to them.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, Metadata};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Component, Path, PathBuf};

use dormouse_wire::{Problem, ProblemKind, phrase};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat};
use nix::sys::time::TimeSpec;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::path;
use crate::image::{PageBuffer, PageSink, Reader};
use crate::kernel::{Answer, Errno, files, mounts};
use crate::resource::content::{self, Stored};
use crate::resource::named_file::shown;

/// A folder of a filesystem with all that is in it, or a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// Where in the filesystem.
    pub root: ByteBuf,
    /// What is there, each after the folder it is in; the first is what is at the root.
    pub entries: Vec<Entry>,
    /// It is a file whose name was removed when it had been mounted, as bubblewrap has what it is given to show.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}

/// A file of whatever type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path below the root; empty: the root itself.
    pub path: ByteBuf,
    /// Its type and permissions, `st_mode`.
    pub mode: u32,
    /// User and group it belongs to.
    pub owner: (u32, u32),
    /// When it was last read and changed: seconds and nanoseconds since 1970.
    pub times: [(i64, u32); 2],
    /// Of a device: which.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub device: u64,
    /// Of a regular file: its size in bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: u64,
    /// Of a regular file: its pages that are not all zeros.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<Stored>,
    /// Of a symbolic link: where it leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ByteBuf>,
    /// It is another name of a file that stands before it, an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_of: Option<usize>,
    /// Extended attributes, xattr(7).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<(ByteBuf, ByteBuf)>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Entry {
    fn file_type(&self) -> u32 {
        self.mode & libc::S_IFMT
    }
}

impl Tree {
    /// Whether it is none that a filesystem can have: a name that leads elsewhere, a file in a file.
    pub fn is_odd(&self) -> bool {
        let mut folders: HashSet<&Path> = HashSet::new();
        let mut names: HashSet<&Path> = HashSet::new();
        for (index, entry) in self.entries.iter().enumerate() {
            let name = path(&entry.path);
            let plain = name.components().all(|part| matches!(part, Component::Normal(_)));
            let placed = match name.parent() {
                None => index == 0,
                Some(parent) => index > 0 && folders.contains(parent),
            };
            let named = entry.name_of.is_none_or(|other| {
                self.entries.get(other).is_some_and(|found| other < index && found.file_type() == entry.file_type())
                    && entry.file_type() != libc::S_IFDIR
            });
            let linked = entry.target.is_some() == (entry.file_type() == libc::S_IFLNK);
            if !plain || !placed || !named || !linked || entry.path.contains(&0) || !names.insert(name) {
                return true;
            }
            if entry.file_type() == libc::S_IFDIR {
                folders.insert(name);
            }
        }
        let is_file = || self.entries.iter().all(|entry| entry.file_type() == libc::S_IFREG);
        let is_removable = || self.root.as_slice() != b"/" && self.entries.len() == 1 && is_file();
        self.entries.is_empty() || !super::is_plain(&self.root) || self.removed && !is_removable()
    }
}

fn unread(place: &Path, error: impl std::fmt::Display) -> Problem {
    Problem::blocks(ProblemKind::File, phrase!("it cannot be read into the image: {why}", why = error)).at(shown(place))
}

/// Reads all that is below a mount point, without what is mounted over it.
pub fn capture(place: &Path, sink: &PageSink, buffer: &mut PageBuffer) -> Result<Vec<Entry>, Problem> {
    let mounted = files::open(place, libc::O_PATH | libc::O_NOFOLLOW).map_err(|errno| unread(place, errno.desc()))?;
    let bare = match mounts::duplicate(&mounted) {
        // What is mounted over it cannot be taken away in this user namespace, and nobody sees what is below.
        Err(Errno::EINVAL) => mounted,
        other => other.map_err(|errno| unread(place, errno.desc()))?,
    };
    let base = mounts::reached_by(bare.as_fd());
    let (mut entries, mut known): (Vec<Entry>, HashMap<(u64, u64), usize>) = (Vec::new(), HashMap::new());
    let mut waiting = vec![PathBuf::new()];
    while let Some(relative) = waiting.pop() {
        let shown_at = place.join(&relative);
        // The root is reached by a link of proc(5), all others by themselves.
        let is_root = relative.as_os_str().is_empty();
        let whole = if is_root { base.clone() } else { base.join(&relative) };
        let found = if is_root { whole.metadata() } else { whole.symlink_metadata() };
        let found = found.map_err(|error| unread(&shown_at, error))?;
        let number = (found.dev(), found.ino());
        // Whoever else sees this filesystem may make a link of a folder meanwhile.
        let opened = match mounts::below(&bare, &relative) {
            Err(Errno::EXDEV) if !is_root => {
                entries.push(covered(&relative, &found, entries.first()));
                continue;
            }
            other => other.map_err(|errno| unread(&shown_at, errno.desc()))?,
        };
        let name_of = if found.is_dir() { None } else { known.get(&number).copied() };
        let mut entry = plain(&relative, &found, name_of);
        if name_of.is_none() {
            if found.nlink() > 1 && !found.is_dir() {
                known.insert(number, entries.len());
            }
            let read = |error: std::io::Error| unread(&shown_at, error);
            let inside = || mounts::reached_by(opened.as_fd());
            entry.attributes = attributes(&whole, is_root).map_err(|errno| unread(&shown_at, errno.desc()))?;
            if found.is_file() {
                let file = File::options().read(true).custom_flags(libc::O_NOATIME).open(inside()).map_err(read)?;
                entry.size = found.len();
                entry.pages = content::capture_pages(&file, found.len(), sink, buffer, &read)?;
            } else if found.is_symlink() {
                entry.target = Some(ByteBuf::from(fs::read_link(&whole).map_err(read)?.into_os_string().into_vec()));
            } else if found.is_dir() {
                let mut names = Vec::new();
                for within in fs::read_dir(inside()).map_err(read)? {
                    names.push(relative.join(within.map_err(read)?.file_name()));
                }
                names.sort_by(|one, other| other.cmp(one));
                waiting.extend(names);
            }
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// What another mount stands on for good: only that it is there can be seen.
fn covered(relative: &Path, found: &Metadata, root: Option<&Entry>) -> Entry {
    let (file_type, mode) = if found.is_dir() { (libc::S_IFDIR, 0o755) } else { (libc::S_IFREG, 0o644) };
    let (owner, times) = root.map_or(((0, 0), [(0, 0); 2]), |root| (root.owner, root.times));
    Entry { mode: file_type | mode, owner, times, device: 0, ..plain(relative, found, None) }
}

fn plain(relative: &Path, found: &Metadata, name_of: Option<usize>) -> Entry {
    let is_device = found.file_type().is_char_device() || found.file_type().is_block_device();
    Entry {
        path: ByteBuf::from(relative.as_os_str().as_bytes()),
        mode: found.mode(),
        owner: (found.uid(), found.gid()),
        times: [(found.atime(), found.atime_nsec() as u32), (found.mtime(), found.mtime_nsec() as u32)],
        device: if is_device { found.rdev() } else { 0 },
        size: 0,
        pages: Vec::new(),
        target: None,
        name_of,
        attributes: Vec::new(),
    }
}

/// The label of a security module is given by whoever makes the file.
fn attributes(whole: &Path, is_root: bool) -> Result<Vec<(ByteBuf, ByteBuf)>, Errno> {
    let place = if is_root { whole.join(".") } else { whole.to_owned() };
    let found = match mounts::extended_attributes(&place) {
        // What is mounted is a file, and none is below it.
        Err(Errno::ENOTDIR) if is_root => return Ok(Vec::new()),
        found => found?,
    };
    let counts = |(name, _): &(Vec<u8>, Vec<u8>)| name.as_slice() != b"security.selinux";
    Ok(found.into_iter().filter(counts).map(|(name, value)| (ByteBuf::from(name), ByteBuf::from(value))).collect())
}

impl Tree {
    /// Whether all of its content is in the image.
    pub fn is_whole(&self, reader: &Reader) -> bool {
        let fits = |entry: &Entry| entry.pages.iter().all(|stored| stored.fits(entry.size, reader));
        self.entries.iter().all(fits)
    }

    /// Removes the name of a file that is mounted everywhere by now, in the filesystem that is reached by this path.
    pub fn remove_again(&self, filesystem: &Path) -> Answer<()> {
        if !self.removed {
            return Ok(());
        }
        nix::unistd::unlink(&filesystem.join(path(&self.root).strip_prefix("/").unwrap_or(Path::new(""))))
    }

    /// Makes all of it in a filesystem that is reached by this path.
    pub fn restore(&self, filesystem: &Path, reader: &Reader, buffer: &mut PageBuffer) -> Result<(), Problem> {
        let root = filesystem.join(path(&self.root).strip_prefix("/").unwrap_or(Path::new("")));
        let unmade = |place: &Path, error: &dyn std::fmt::Display| {
            let kind = ProblemKind::File;
            Problem::blocks(kind, phrase!("it cannot be made again: {why}", why = error)).at(shown(place))
        };
        if let Some(above) = root.parent().filter(|_| self.root.as_slice() != b"/") {
            fs::create_dir_all(above).map_err(|error| unmade(above, &error))?;
        }
        for entry in &self.entries {
            let place = root.join(path(&entry.path));
            let place = if entry.path.is_empty() { root.clone() } else { place };
            self.make(entry, &root, &place, (reader, buffer))?;
        }
        // Whatever is made in a folder changes its times.
        for entry in self.entries.iter().rev() {
            let place = if entry.path.is_empty() { root.clone() } else { root.join(path(&entry.path)) };
            let [read, changed] = entry.times.map(|(seconds, nanoseconds)| TimeSpec::new(seconds, nanoseconds.into()));
            utimensat(AT_FDCWD, &place, &read, &changed, UtimensatFlags::NoFollowSymlink)
                .map_err(|errno| unmade(&place, &errno.desc()))?;
        }
        Ok(())
    }

    fn make(
        &self,
        entry: &Entry,
        root: &Path,
        place: &Path,
        (reader, buffer): (&Reader, &mut PageBuffer),
    ) -> Result<(), Problem> {
        let unmade = |error: std::io::Error| {
            let kind = if error.raw_os_error() == Some(libc::ENOSPC) { ProblemKind::Space } else { ProblemKind::File };
            Problem::blocks(kind, phrase!("it cannot be made again: {why}", why = error)).at(shown(place))
        };
        if let Some(other) = entry.name_of.and_then(|index| self.entries.get(index)) {
            let other = root.join(path(&other.path));
            let linked = nix::unistd::linkat(AT_FDCWD, &other, AT_FDCWD, place, AtFlags::empty());
            return linked.map_err(|errno| unmade(errno.into()));
        }
        match entry.file_type() {
            libc::S_IFDIR => match fs::create_dir(place) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && entry.path.is_empty() => {}
                made => made.map_err(unmade)?,
            },
            libc::S_IFLNK => {
                let target = entry.target.as_ref().map_or(Path::new(""), |target| path(target));
                symlink(target, place).map_err(unmade)?;
            }
            libc::S_IFREG => {
                let file = File::options().write(true).create_new(true).mode(0o600).open(place).map_err(unmade)?;
                file.set_len(entry.size).map_err(unmade)?;
                for stored in &entry.pages {
                    content::fill(&file, entry.size, stored, (reader, buffer), &unmade)?;
                }
            }
            other => {
                let kind = SFlag::from_bits_truncate(other);
                mknod(place, kind, Mode::from_bits_truncate(0o600), entry.device)
                    .map_err(|errno| unmade(errno.into()))?;
            }
        }
        lchown(place, Some(entry.owner.0), Some(entry.owner.1)).map_err(unmade)?;
        if entry.file_type() != libc::S_IFLNK {
            fs::set_permissions(place, fs::Permissions::from_mode(entry.mode & 0o7777)).map_err(unmade)?;
        }
        for (name, value) in &entry.attributes {
            mounts::set_extended_attribute(place, name, value).map_err(|errno| unmade(errno.into()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, mode: u32) -> Entry {
        Entry {
            path: ByteBuf::from(name),
            mode,
            owner: (0, 0),
            times: [(0, 0); 2],
            device: 0,
            size: 0,
            pages: Vec::new(),
            target: (mode & libc::S_IFMT == libc::S_IFLNK).then(|| ByteBuf::from("/etc")),
            name_of: None,
            attributes: Vec::new(),
        }
    }

    fn tree(entries: &[(&str, u32)]) -> Tree {
        let entries = entries.iter().map(|(name, mode)| entry(name, *mode)).collect();
        Tree { root: ByteBuf::from("/"), entries, removed: false }
    }

    #[test]
    fn a_tree_that_leads_out_of_itself_is_odd() {
        let (folder, file, link) = (libc::S_IFDIR | 0o755, libc::S_IFREG | 0o644, libc::S_IFLNK | 0o777);
        assert!(!tree(&[("", folder), ("a", folder), ("a/b", file), ("c", link)]).is_odd());
        for odd in [
            &[][..],
            &[("a", file)],
            &[("", folder), ("../a", file)],
            &[("", folder), ("/a", file)],
            &[("", folder), ("a/b", file)],
            &[("", folder), ("a", link), ("a/b", file)],
            &[("", folder), ("a", file), ("a/b", file)],
            &[("", folder), ("a", folder), ("a", link)],
            &[("", folder), ("a\0", file)],
        ] {
            assert!(tree(odd).is_odd(), "{odd:?}");
        }
        let mut linked = tree(&[("", folder), ("a", file), ("b", file)]);
        linked.entries[2].name_of = Some(1);
        assert!(!linked.is_odd());
        linked.entries[2].name_of = Some(2);
        assert!(linked.is_odd());
        let gone = |root: &str, mode| Tree { root: ByteBuf::from(root), removed: true, ..tree(&[("", mode)]) };
        assert!(!gone("/file", file).is_odd());
        assert!(gone("/", file).is_odd() && gone("/folder", folder).is_odd() && gone("/../file", file).is_odd());
    }
}
