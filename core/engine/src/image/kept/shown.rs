//! A kept file under the name that programs know it by.
//!
//! A program finds its own libraries in /proc/self/maps, its executable in /proc/self/exe, and a debugger does the same. The kernel
//! makes such a path from the names up to the root of the mount that the file was opened on. So the object gets its old name once more,
//! as a hard link in a folder of its own, and is opened through a mount of just that folder, which is attached nowhere:
//! open_tree(2) with OPEN_TREE_CLONE. That mount lives as long as the mappings do.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use super::{ContentHash, KeptFiles};
use crate::kernel::identity::{Acting, Identity};
use crate::kernel::{files, mounts};

impl KeptFiles {
    pub(super) fn shown(&self) -> PathBuf {
        self.folder.join("shown")
    }

    /// The file with this content, opened for reading, which shows this path where that can be; whether it does. Done with the rights of
    /// `identity` on files. The bytes are not checked again.
    pub fn open_as(&self, hash: ContentHash, path: &Path, identity: &Identity) -> io::Result<(OwnedFd, bool)> {
        let acting = Acting::begin(identity)?;
        let object = self.open_unchecked(hash)?;
        let shown = self.show(hash, &object, path);
        drop(acting);
        // Mounts are for whoever has CAP_SYS_ADMIN, whoever's files they show.
        let shown = shown.and_then(|(folder, rest)| {
            let mount = mounts::duplicate(&folder)?;
            let attributes = mounts::READ_ONLY | mounts::NO_SUID | mounts::NO_DEVICES;
            // A disk from which nothing may be run stays one, but for root's own.
            let keeps = if identity.user == 0 { 0 } else { mounts::no_execution(&mount)? };
            mounts::set_attributes(&mount, attributes | keeps)?;
            let _acting = Acting::begin(identity)?;
            let opened = mounts::open_below(&mount, &rest, libc::O_RDONLY)?;
            let (one, other) = (files::stat(&opened)?, files::stat(&object)?);
            if (one.st_dev, one.st_ino) != (other.st_dev, other.st_ino) {
                return Err(io::Error::other("another file has that name"));
            }
            Ok(opened)
        });
        match shown {
            Ok(opened) => Ok((opened, true)),
            Err(error) => {
                tracing::debug!(%error, %hash, path = %path.display(), "a kept file shows its place in the store");
                Ok((object.into(), false))
            }
        }
    }

    /// The folder whose mount shows the path, and the path in it.
    fn show(&self, hash: ContentHash, object: &File, path: &Path) -> io::Result<(OwnedFd, PathBuf)> {
        let plain = |part: Component<'_>| match part {
            Component::Normal(name) => Some(Ok(name.to_owned())),
            Component::RootDir => None,
            _ => Some(Err(io::Error::from(io::ErrorKind::InvalidInput))),
        };
        let rest: PathBuf = path.components().filter_map(plain).collect::<io::Result<_>>()?;
        let folder = self.shown().join(hash.to_string());
        let place = folder.join(&rest);
        let there = place.symlink_metadata();
        let found = object.metadata()?;
        if !there.is_ok_and(|there| (there.dev(), there.ino()) == (found.dev(), found.ino())) {
            let above = place.parent().unwrap_or(&folder);
            DirBuilder::new().recursive(true).mode(0o700).create(above)?;
            match fs::hard_link(self.object(hash), &place) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    // It leads to an object of before.
                    fs::remove_file(&place)?;
                    fs::hard_link(self.object(hash), &place)?;
                }
                answer => answer?,
            }
        }
        let folder = files::open(&folder, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW)?;
        Ok((folder, rest))
    }
}
