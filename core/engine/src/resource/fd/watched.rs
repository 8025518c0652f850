//! Where a file lies that is watched, by inotify(7) or fanotify(7): the kernel tells a handle of it, which leads to a name.

// zoo: no kind

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::kernel::{files, inotify};
use crate::proc::fdinfo;
use crate::proc::mountinfo::{self, Mount};
use crate::proc::{parsed_system, strip_deleted, text};
use crate::resource::fd::FilesFacts;

/// What a line of fdinfo says of a watched file: `ino:3c4a7 sdev:fe00000 … fhandle-bytes:8 fhandle-type:1
/// f_handle:a7c40300…`, hexadecimal, proc_pid_fdinfo(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    inode: u64,
    device: (u32, u32),
    kind: i32,
    handle: Vec<u8>,
}

/// A number in a line of fdinfo that names it: `mask:3ff`, hexadecimal.
pub fn number(line: &[u8], key: &[u8]) -> Option<u64> {
    text::hexadecimal(field(line, key)?)
}

fn field<'a>(line: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    text::words(line).find_map(|word| word.strip_prefix(key)?.strip_prefix(b":"))
}

/// The device that a line of fdinfo names, major and minor.
pub fn device(line: &[u8]) -> Option<(u32, u32)> {
    let device = number(line, b"sdev")?;
    Some(((device >> 20) as u32, (device & 0xf_ffff) as u32))
}

/// Where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Under this name.
    Path(PathBuf),
    /// It has no name any more.
    Removed,
    /// It cannot be told.
    Unknown,
}

/// The mounts that this thread sees, for all watches of a descriptor: there can be thousands.
#[derive(Debug)]
pub struct Mounts {
    list: Vec<Mount>,
    /// What is mounted, by its id.
    opened: RefCell<HashMap<i32, Option<Rc<OwnedFd>>>>,
}

impl Mounts {
    /// Those of now.
    pub fn here() -> Self {
        let list = parsed_system("thread-self/mountinfo", mountinfo::parse).unwrap_or_default();
        Self { list, opened: RefCell::default() }
    }

    fn open(&self, mount: &Mount) -> Option<Rc<OwnedFd>> {
        let opened = || files::open(&point(mount), libc::O_RDONLY | libc::O_NONBLOCK).ok().map(Rc::new);
        self.opened.borrow_mut().entry(mount.id).or_insert_with(opened).clone()
    }

    /// Where the first of these is mounted that can be reached there: over others something else is mounted.
    pub fn reached(&self, which: impl Fn(&Mount) -> bool) -> Option<PathBuf> {
        let mut all = self.list.iter().filter(|mount| which(mount));
        all.find_map(|mount| Some(point(mount)).filter(|point| mount_at(point) == Some(mount.id)))
    }
}

fn point(mount: &Mount) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(&mount.mount_point))
}

/// The id of the mount that is reached at a path.
fn mount_at(path: &Path) -> Option<i32> {
    let opened = files::open(path, libc::O_PATH | libc::O_NOFOLLOW).ok()?;
    Some(parsed_system(&format!("thread-self/fdinfo/{}", opened.as_raw_fd()), fdinfo::parse).ok()?.mount_id)
}

impl Watched {
    /// Reads a line.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let handle = field(line, b"f_handle").unwrap_or_default();
        let bytes =
            handle.chunks(2).map(|pair| text::hexadecimal(pair).map(|byte| byte as u8)).collect::<Option<_>>()?;
        Some(Self {
            inode: number(line, b"ino")?,
            device: device(line)?,
            kind: number(line, b"fhandle-type").unwrap_or(0) as i32,
            handle: bytes,
        })
    }

    /// Where it lies.
    pub fn place(&self, group: &FilesFacts, mounts: &Mounts) -> Place {
        self.by_handle(mounts).or_else(|| self.by_opening(group)).unwrap_or(Place::Unknown)
    }

    fn by_handle(&self, mounts: &Mounts) -> Option<Place> {
        let here = mounts.list.iter().filter(|mount| mount.device == self.device && !self.handle.is_empty());
        let mut removed = None;
        for mount in here {
            let Some(point) = mounts.open(mount) else { continue };
            let Ok(opened) = inotify::open_handle(&*point, self.kind, &self.handle) else { continue };
            let Ok(stat) = files::stat(&opened) else { continue };
            if stat.st_nlink == 0 {
                removed = Some(Place::Removed);
                continue;
            }
            let link = std::fs::read_link(crate::kernel::procfs::descriptor(&opened)).unwrap_or_default();
            let found = link.symlink_metadata();
            if stat.st_ino == self.inode
                && found.is_ok_and(|found| (found.dev(), found.ino()) == (stat.st_dev, stat.st_ino))
            {
                return Some(Place::Path(link));
            }
        }
        removed
    }

    /// Its name among those that the group has open.
    fn by_opening(&self, group: &FilesFacts) -> Option<Place> {
        let (major, minor) = self.device;
        let same = |stat: &libc::stat| stat.st_ino == self.inode && stat.st_dev == libc::makedev(major, minor);
        let found = group.files.iter().find(|file| same(&file.stat) && file.link.starts_with(b"/"))?;
        let path = PathBuf::from(OsStr::from_bytes(strip_deleted(&found.link).0));
        Some(if found.is_removed() { Place::Removed } else { Place::Path(path) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read() {
        let line = b"inotify wd:a ino:3c4a7 sdev:fe00001 mask:3ff ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:a7c4030012345678";
        let expected = Watched {
            inode: 0x3_c4a7,
            device: (0xfe, 1),
            kind: 1,
            handle: vec![0xa7, 0xc4, 0x03, 0x00, 0x12, 0x34, 0x56, 0x78],
        };
        assert_eq!(Watched::parse(line), Some(expected));
        assert_eq!(
            (number(line, b"wd"), number(line, b"mask"), number(line, b"mflags")),
            (Some(10), Some(0x3ff), None)
        );
        assert_eq!(Watched::parse(b"inotify wd:1 ino:x sdev:1 mask:1"), None);
    }
}
