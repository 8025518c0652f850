//! Among the mounts of another mount namespace, for a moment and with one thread alone: mount_namespaces(7), setns(2). Paths mean there what
//! they mean to those who live there; the proc(5) of the engine stays within reach, for what is there may be another one, or none.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};

use super::{Answer, files, procfs};

/// Where a thread is: its mounts, its root directory and its working directory.
#[derive(Debug)]
pub struct Standpoint {
    mounts: OwnedFd,
    root: OwnedFd,
    place: OwnedFd,
}

impl Standpoint {
    /// Where this thread is, which shares it with nobody from now on.
    pub fn here() -> Answer<Self> {
        unshare(CloneFlags::CLONE_FS)?;
        Ok(Self {
            mounts: files::open(&procfs::path("thread-self/ns/mnt"), libc::O_RDONLY)?,
            root: folder(Path::new("/"))?,
            place: folder(Path::new("."))?,
        })
    }

    /// Goes back there.
    pub fn go_back(&self) -> Answer<()> {
        setns(&self.mounts, CloneFlags::CLONE_NEWNS)?;
        nix::unistd::fchdir(&self.root)?;
        nix::unistd::chroot(".")?;
        nix::unistd::fchdir(&self.place)
    }
}

fn folder(path: &Path) -> Answer<OwnedFd> {
    files::open(path, libc::O_PATH | libc::O_DIRECTORY)
}

/// Does something among the mounts of this namespace, from its root, and comes back: this thread alone.
pub fn among<T>(namespace: &impl AsFd, work: impl FnOnce() -> T) -> Answer<T> {
    at(namespace, None, work)
}

/// The same with this root directory.
pub fn at<T>(namespace: &impl AsFd, root: Option<&OwnedFd>, work: impl FnOnce() -> T) -> Answer<T> {
    let proc = folder(procfs::root())?;
    let home = Standpoint::here()?;
    setns(namespace, CloneFlags::CLONE_NEWNS)?;
    let goes_there = || {
        if let Some(root) = root {
            nix::unistd::fchdir(root)?;
            nix::unistd::chroot(".")?;
        }
        nix::unistd::fchdir(&proc)
    };
    let done = goes_there().map(|()| procfs::from_here(work));
    home.go_back()?;
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::namespaces;

    #[test]
    fn a_thread_comes_back_to_where_it_was() -> Result<(), Box<dyn std::error::Error>> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(());
        }
        let told = std::thread::spawn(|| -> Answer<_> {
            let home = Standpoint::here()?;
            namespaces::part_with(&["mnt"])?;
            let link = || std::fs::read_link(procfs::path("thread-self/ns/mnt")).map_err(|_| super::super::Errno::EIO);
            let (other, place) = (files::open(&procfs::path("thread-self/ns/mnt"), libc::O_RDONLY)?, link()?);
            home.go_back()?;
            let before = (link()?, nix::unistd::getcwd()?);
            let there = among(&other, || (link(), std::env::current_dir().ok()))?;
            let after = (link()?, nix::unistd::getcwd()?);
            Ok((before == after, there.0? == place, place == after.0))
        });
        let told = told.join().map_err(|_| "it has panicked")??;
        assert_eq!(told, (true, true, false));
        Ok(())
    }
}
