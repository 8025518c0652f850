//! The number of a pseudo-terminal, the N of /dev/pts/N: programs know theirs, ttyname(3). The kernel gives the lowest
//! free one; so pairs are made, and held, until the wanted one comes.

// zoo: no kind

use std::cmp::Ordering;
use std::os::fd::OwnedFd;
use std::path::Path;

use crate::kernel::identity::{Acting, Identity};
use crate::kernel::{Answer, Errno, files, terminal};
use crate::resource::named_file::Owner;

/// A new master with these flags, made with its owner's rights, with this number. EBUSY: another pair has it.
pub fn master_with(path: &Path, owner: &Owner, flags: i32, wanted: u32) -> Answer<OwnedFd> {
    if wanted >= MOST {
        return Err(Errno::EBUSY);
    }
    let mut held = Vec::new();
    loop {
        let made = open(path, owner, flags)?;
        match terminal::number(&made)?.cmp(&wanted) {
            Ordering::Equal => return Ok(made),
            Ordering::Greater => return Err(Errno::EBUSY),
            Ordering::Less => held.push(made),
        }
    }
}

/// A new master with a number that nobody else of the group wants.
pub fn any_master(path: &Path, owner: &Owner, flags: i32, others: &[u32]) -> Answer<OwnedFd> {
    let mut held = Vec::new();
    loop {
        let made = open(path, owner, flags)?;
        if !others.contains(&terminal::number(&made)?) {
            return Ok(made);
        }
        held.push(made);
    }
}

/// As many pairs as a system has, /proc/sys/kernel/pty/max: beyond that no number is looked for.
const MOST: u32 = 4096;

/// Opens the multiplexer, and nothing else that may have its name.
fn open(path: &Path, owner: &Owner, flags: i32) -> Answer<OwnedFd> {
    let _acting = Acting::begin(&Identity::from(owner))?;
    if !is_multiplexer(path) {
        return Err(Errno::ENXIO);
    }
    files::open(path, flags)
}

/// Whether a path leads to the device that makes pairs, 5:2.
fn is_multiplexer(path: &Path) -> bool {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    path.metadata().is_ok_and(|found| found.file_type().is_char_device() && found.rdev() == libc::makedev(5, 2))
}

/// The name of a slave.
pub fn node(number: u32) -> std::path::PathBuf {
    format!("/dev/pts/{number}").into()
}
