//! A process's view of the filesystem: working directory, root and umask; chdir(2), chroot(2), umask(2).

// zoo: working_directory

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::resource::moves::Moving;

/// Where a process is. Shared by tasks made with CLONE_FS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    /// The working directory.
    pub working_directory: ByteBuf,
    /// The root directory; `/` if it was never changed.
    pub root: ByteBuf,
    /// Which of the two is a directory in /proc of a process that has ended: empty, and nowhere any more. Browsers shut their parts in there.
    #[serde(default, skip_serializing_if = "Ended::is_neither")]
    pub ended: Ended,
    /// The file mode creation mask.
    pub umask: u32,
}

impl Filesystem {
    /// Leads it to where its directories have moved. A root that was never changed is that of the system.
    pub fn moved(&mut self, moving: &mut Moving<'_>) {
        if !self.ended.working_directory {
            moving.path(&mut self.working_directory);
        }
        if self.root.as_slice() != b"/" && !self.ended.root {
            moving.path(&mut self.root);
        }
    }
}

/// Directories in /proc of processes that have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The working directory is one.
    pub working_directory: bool,
    /// The root directory is one.
    pub root: bool,
}

impl Ended {
    /// Neither is.
    pub fn is_neither(&self) -> bool {
        *self == Self::default()
    }
}
