//! Copies that can be cancelled.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dormouse_wire::Progress;
use nix::fcntl::OFlag;

/// So much is copied between two looks whether to go on.
const PIECE: usize = 1 << 20;
/// So old is a copy at least before anybody may take it for one that nobody makes any more.
const SETTLED: Duration = Duration::from_secs(2);

/// What the name of a copy begins with that is not whole yet, before the pid of who makes it. No list shows it.
const UNFINISHED: &str = ".import-";

/// For opening what somebody else has put there: no device and no FIFO is waited for, and no link is followed.
pub fn carefully() -> i32 {
    (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()
}

/// Begins a copy in a folder. It is locked as long as this process lives, flock(2): without its lock it is left over.
pub fn begin(folder: &Path) -> io::Result<(PathBuf, File)> {
    let hidden = folder.join(format!("{UNFINISHED}{}", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&hidden)?;
    match file.try_lock() {
        Ok(()) => Ok((hidden, file)),
        Err(error) => {
            drop(Unfinished(&hidden));
            Err(error.into())
        }
    }
}

/// A file that is gone when this is.
#[derive(Debug)]
pub struct Unfinished<'a>(pub &'a Path);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0);
    }
}

/// Removes what imports and moves have left that were killed: whoever lives has a lock on his copy.
pub fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_copy = entry.file_name().to_string_lossy().starts_with(UNFINISHED)
            && entry.file_type().is_ok_and(|kind| kind.is_file());
        if !is_copy {
            continue;
        }
        let file = OpenOptions::new().read(true).custom_flags(carefully()).open(entry.path());
        let Ok(file) = file else { continue };
        // One that was made this moment may not have its lock yet.
        let made = entry.metadata().ok().and_then(|found| found.modified().ok());
        if made.is_some_and(|made| made.elapsed().is_ok_and(|age| age > SETTLED)) && file.try_lock().is_ok() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Why a copy ended.
#[derive(Debug)]
pub enum Stopped {
    /// It was cancelled.
    Cancelled,
    /// This went wrong.
    Failed(io::Error),
}

/// Copies all of a file, whose size is known.
pub fn copy(mut from: File, mut to: &File, size: u64, progress: &dyn Progress) -> Result<(), Stopped> {
    let mut piece = vec![0; PIECE];
    let mut copied: u64 = 0;
    loop {
        if progress.cancelled() {
            return Err(Stopped::Cancelled);
        }
        let read = from.read(&mut piece).map_err(Stopped::Failed)?;
        let part = piece.get(..read).unwrap_or_default();
        if part.is_empty() {
            break;
        }
        to.write_all(part).map_err(Stopped::Failed)?;
        copied += read as u64;
        // A file that grows while it is copied is not copied for ever.
        if copied > size {
            break;
        }
        progress.moved(read as u64);
    }
    if copied == size { Ok(()) } else { Err(Stopped::Failed(io::Error::other("it has changed while it was copied"))) }
}
