//! A file that the group uses by its name in the filesystem, and how the thaw knows that it is still that file.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use dormouse_wire::{Problem, ProblemKind};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::kernel::identity::Identity;

/// A file by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedFile {
    /// Its absolute path.
    pub path: ByteBuf,
    /// Its type and permissions, `st_mode`.
    pub mode: u32,
    /// Its size in bytes.
    pub size: u64,
    /// When its content was last changed: seconds and nanoseconds since 1970.
    pub modified: (i64, u32),
    /// Opened or mapped for writing by the group.
    pub writable: bool,
    /// User, group and groups of whom it is opened for.
    pub owner: Owner,
}

/// With whose rights a file is opened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// Filesystem user.
    pub user: u32,
    /// Filesystem group.
    pub group: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl From<&Owner> for Identity {
    fn from(owner: &Owner) -> Self {
        Self { user: owner.user, group: owner.group, groups: owner.groups.clone() }
    }
}

impl NamedFile {
    /// The path as Rust has it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(std::ffi::OsStr::from_bytes(&self.path))
    }

    /// What has become of the file: problems that matter to whoever depends on every byte of it (`exact`: it is mapped)
    /// or only on its being there.
    pub fn check(&self, exact: bool) -> Vec<Problem> {
        let path = self.path();
        let found = match std::fs::metadata(&path) {
            Ok(found) => found,
            Err(error) => {
                let problem = Problem::blocks(ProblemKind::File, format!("the file cannot be found: {error}"));
                return vec![problem.at(shown(&path)).way_out("Put it back in its place, then thaw again")];
            }
        };
        const TYPE: u32 = libc::S_IFMT;
        if found.mode() & TYPE != self.mode & TYPE {
            let problem = Problem::blocks(ProblemKind::File, "something else has its name now");
            return vec![problem.at(shown(&path)).way_out("Put the file back in its place, then thaw again")];
        }
        if self.mode & TYPE != libc::S_IFREG {
            return Vec::new();
        }
        let changed = (found.mtime(), found.mtime_nsec() as u32) != self.modified;
        if found.len() < self.size {
            let what = format!("the file has shrunk from {} to {} bytes since the freeze", self.size, found.len());
            return vec![Problem::blocks(ProblemKind::File, what).at(shown(&path)).way_out("Put the old file back")];
        }
        if exact && (changed || found.len() != self.size) {
            let what = "the file has been changed or replaced since the freeze, and the program has it in its memory";
            return vec![Problem::blocks(ProblemKind::File, what).at(shown(&path)).way_out("Put the old file back")];
        }
        if changed || found.len() != self.size {
            let what = "the file has been changed since the freeze";
            return vec![Problem::loses(ProblemKind::File, what, "what the file held at the freeze").at(shown(&path))];
        }
        Vec::new()
    }
}

/// A path for a person: odd bytes and control characters escaped.
pub fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
