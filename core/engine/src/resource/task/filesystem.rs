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
    /// The file mode creation mask.
    pub umask: u32,
}

impl Filesystem {
    /// Leads it to where its directories have moved. A root that was never changed is that of the system.
    pub fn moved(&mut self, moving: &mut Moving<'_>) {
        moving.path(&mut self.working_directory);
        if self.root.as_slice() != b"/" {
            moving.path(&mut self.root);
        }
    }
}
