//! Whether the name that the kernel tells of an open file leads to it, proc_pid_fd(5): a name may have been removed,
//! another file may have been mounted over it, and its owner may not be allowed to open it any more.

// zoo: no kind

use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use dormouse_wire::{Problem, ProblemKind, phrase};
use serde_bytes::ByteBuf;

use super::FileFacts;
use crate::kernel::identity::{Acting, Identity};
use crate::kernel::{files, outside};
use crate::proc;
use crate::resource::named_file::is_outside;

impl FileFacts {
    /// Whether its name was removed. A file may be called `x (deleted)` by its owner: then its name leads to it.
    pub fn is_removed(&self) -> bool {
        proc::strip_deleted(&self.link).1 && !self.is_at(Path::new(OsStr::from_bytes(&self.link)))
    }

    /// Whether it stands for a place and not for a content, O_PATH.
    pub fn is_path_only(&self) -> bool {
        self.info.flags as i32 & libc::O_PATH != 0
    }

    /// Whether this path leads to it.
    pub fn is_at(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let found = self.among_its_mounts(|| path.symlink_metadata()).unwrap_or_else(|errno| Err(errno.into()));
        found.is_ok_and(|found| (found.dev(), found.ino()) == (self.stat.st_dev, self.stat.st_ino))
    }
}

/// What stands in the way of opening a file again by its name.
pub fn judge(facts: &FileFacts) -> Vec<Problem> {
    if facts.is_removed() {
        return Vec::new();
    }
    let path = Path::new(OsStr::from_bytes(&facts.link));
    let is_regular = matches!(facts.file_type(), libc::S_IFREG | libc::S_IFDIR);
    if let Some(outside) = outside::known().filter(|_| is_regular && is_outside(&facts.link, &facts.stat)) {
        return if facts.is_path_only() {
            Vec::new()
        } else {
            may_open(facts, &outside.reach(path)).err().into_iter().collect()
        };
    }
    if !facts.is_at(path) {
        let what = match path.symlink_metadata() {
            Ok(_) => phrase!("another file hides it: something was mounted over it, or it was opened in another place"),
            Err(_) => phrase!(
                "its name does not lead to it: what it lies on was unmounted, or it was opened in another place"
            ),
        };
        return vec![
            facts
                .problem(ProblemKind::File, what)
                .way_out(phrase!("Close it in the program, or unmount what hides it")),
        ];
    }
    if facts.is_path_only() {
        return Vec::new();
    }
    may_open(facts, path).err().into_iter().collect()
}

/// A program may have opened a file before it gave up the rights to: it could not be opened again.
fn may_open(facts: &FileFacts, path: &Path) -> Result<(), Problem> {
    let rights = match facts.access() {
        libc::O_RDONLY => libc::R_OK,
        libc::O_WRONLY => libc::W_OK,
        _ => libc::R_OK | libc::W_OK,
    };
    let acting = Acting::begin(&Identity::from(&facts.owner));
    acting.and_then(|_acting| files::may_access(path, rights)).map_err(|errno| {
        let what = phrase!("user {user} may not open it again: {why}", user = facts.owner.user, why = errno.desc());
        facts
            .problem(ProblemKind::File, what)
            .way_out(phrase!("Give the user the right to open it, or close it in the program"))
    })
}

/// What the bytes of a path are, for a person.
pub fn shown_bytes(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().flat_map(char::escape_debug).collect()
}

/// A path from bytes.
pub fn path_of(bytes: &ByteBuf) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// The path by which this process can open a descriptor of its own anew.
pub fn own_path(file: &impl AsRawFd) -> String {
    crate::kernel::procfs::descriptor(file).to_string_lossy().into_owned()
}
