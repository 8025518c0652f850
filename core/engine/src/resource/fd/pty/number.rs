//! The number of a pseudo-terminal, the N of /dev/pts/N: programs know theirs, ttyname(3). The kernel gives the lowest
//! free one; so pairs are made, and held, until the wanted one comes.

// zoo: no kind

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::kernel::identity::{Acting, Identity};
use crate::kernel::{Answer, Errno, files, terminal};
use crate::resource::named_file::Owner;

/// A new master with these flags, made with its owner's rights; with the wanted number if that is free, and else with
/// one that nobody else of the group wants.
pub fn master(path: &Path, owner: &Owner, flags: i32, wanted: u32, others: &[u32]) -> Answer<(OwnedFd, u32)> {
    let free = node(wanted).symlink_metadata().is_err();
    let mut held = Vec::new();
    loop {
        let made = open(path, owner, flags)?;
        let number = terminal::number(&made)?;
        let fits = if free && number < wanted { false } else { number == wanted || !others.contains(&number) };
        if fits {
            return Ok((made, number));
        }
        held.push(made);
        if held.len() > MOST {
            return Err(Errno::ENOSPC);
        }
    }
}

/// More pairs than a system has, /proc/sys/kernel/pty/max.
pub const MOST: usize = 1 << 16;

/// Opens the multiplexer, and nothing else that may have its name.
fn open(path: &Path, owner: &Owner, flags: i32) -> Answer<OwnedFd> {
    let _acting = Acting::begin(&Identity::from(owner))?;
    if !is_multiplexer(path) {
        return Err(Errno::ENXIO);
    }
    files::open(path, flags)
}

/// Whether a path leads to the device that makes pairs, 5:2.
pub fn is_multiplexer(path: &Path) -> bool {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    path.metadata().is_ok_and(|found| found.file_type().is_char_device() && found.rdev() == libc::makedev(5, 2))
}

/// The name of a slave.
pub fn node(number: u32) -> std::path::PathBuf {
    format!("/dev/pts/{number}").into()
}
