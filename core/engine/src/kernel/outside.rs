//! Where this process comes from, once it has gone into a set of namespaces in which paths mean other files: the root of the
//! outside stays open, and paths are looked up below it as they would have been before, openat2(2).

use std::cell::Cell;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};

use super::{Answer, among, files};

/// What is known of the outside.
#[derive(Debug)]
pub struct Outside {
    /// Its root directory.
    root: OwnedFd,
    /// The working directory there, from which relative paths begin.
    place: PathBuf,
    /// Its proc_pid_mountinfo(5).
    mounts: Vec<u8>,
    /// Its mount namespace.
    namespace: OwnedFd,
    /// The kinds of namespaces that are others here, by the names of their links in /proc/PID/ns.
    own: Vec<&'static str>,
}

static OUTSIDE: OnceLock<Outside> = OnceLock::new();

thread_local! {
    /// This thread stands there.
    static STANDS_THERE: Cell<bool> = const { Cell::new(false) };
}

impl Outside {
    /// What this process has around it now, before it goes elsewhere, where these namespaces will be others.
    pub fn here(own: Vec<&'static str>) -> std::io::Result<Self> {
        Ok(Self {
            root: files::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?,
            place: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            mounts: std::fs::read(super::procfs::path("thread-self/mountinfo"))?,
            namespace: files::open(&super::procfs::path("thread-self/ns/mnt"), libc::O_RDONLY)?,
            own,
        })
    }

    /// From now on this is outside.
    pub fn begin(self) {
        // There is one at most: a process goes into a set of namespaces once.
        let _ = OUTSIDE.set(self);
    }

    /// Opens a path of it.
    pub fn open(&self, path: &Path, flags: i32) -> Answer<OwnedFd> {
        let mut flags = OFlag::from_bits_retain(flags) | OFlag::O_CLOEXEC;
        if !flags.contains(OFlag::O_PATH) {
            flags |= OFlag::O_NOCTTY;
        }
        openat2(&self.root, &self.place.join(path), OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT))
    }

    /// The path from its root on.
    pub fn absolute(&self, path: &Path) -> PathBuf {
        self.place.join(path)
    }

    /// A path by which a file of it is reached from here.
    pub fn reach(&self, path: &Path) -> PathBuf {
        super::procfs::descriptor(&self.root).join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Its mounts, proc_pid_mountinfo(5).
    pub fn mounts(&self) -> &[u8] {
        &self.mounts
    }

    /// The kinds of namespaces that are others here.
    pub fn own(&self) -> &[&'static str] {
        &self.own
    }
}

/// The outside, if this process has gone elsewhere.
pub fn known() -> Option<&'static Outside> {
    OUTSIDE.get()
}

/// Does something where this process comes from, with this thread alone: paths mean there what they mean to a caller, and mounts can be
/// copied. At once where it has gone nowhere. Rights that are taken on in `work` must be given back in it.
pub fn standing<T>(work: impl FnOnce() -> T) -> Answer<T> {
    let Some(outside) = known().filter(|_| !STANDS_THERE.get()) else { return Ok(work()) };
    among::at(&outside.namespace, Some(&outside.root), || {
        STANDS_THERE.set(true);
        let done = work();
        STANDS_THERE.set(false);
        done
    })
}

/// Whether this process has gone into another namespace of this kind, which is that of a group alone.
pub fn has_own(kind: &str) -> bool {
    known().is_some_and(|outside| outside.own().contains(&kind))
}

/// Opens a path that a caller has named, who knows the outside only.
pub fn open(path: &Path, flags: i32) -> Answer<OwnedFd> {
    match known() {
        Some(outside) => outside.open(path, flags),
        None => openat2(
            AT_FDCWD,
            path,
            OpenHow::new().flags(OFlag::from_bits_retain(flags) | OFlag::O_CLOEXEC | OFlag::O_NOCTTY),
        ),
    }
}

/// The text of a file of the system, such as one of sysfs(5), which not every set of namespaces has.
pub fn text(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::from(open(Path::new(path), libc::O_RDONLY)?).read_to_string(&mut text)?;
    Ok(text)
}
