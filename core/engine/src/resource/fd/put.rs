//! Names that a thaw has put into a filesystem for what it makes: while the group does not run yet, they go with it.

// zoo: no kind

use std::ffi::OsString;
use std::os::fd::OwnedFd;

use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::kernel::Answer;
use crate::kernel::identity::{Acting, Identity};

/// A name in a folder. Dropped before it is [kept](Self::keep), it is removed, if it still leads to what was made.
#[derive(Debug)]
pub struct Put {
    /// Whose path may be another by now.
    folder: OwnedFd,
    name: OsString,
    /// Device and inode.
    identity: (u64, u64),
    /// With whose rights it was made.
    maker: Identity,
    stays: bool,
}

impl Put {
    /// This name in this folder leads to what has this device and inode, and was made with these rights.
    pub fn new(folder: OwnedFd, name: OsString, identity: (u64, u64), maker: Identity) -> Self {
        Self { folder, name, identity, maker, stays: false }
    }

    /// The group runs: the name is its own.
    pub fn keep(mut self) {
        self.stays = true;
    }

    fn remove(&self) -> Answer<()> {
        let _acting = Acting::begin(&self.maker)?;
        let found = fstatat(&self.folder, self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if (found.st_dev, found.st_ino) == self.identity {
            unlinkat(&self.folder, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir)?;
        }
        Ok(())
    }
}

impl Drop for Put {
    fn drop(&mut self) {
        if !self.stays
            && let Err(error) = self.remove()
        {
            tracing::warn!(%error, name = ?self.name, "what a thaw that failed has put there stays");
        }
    }
}
