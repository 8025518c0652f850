//! An event that says that events were lost, FAN_Q_OVERFLOW: the kernel alone can give it, to a queue that is full.

// zoo: no kind

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::kernel::{Answer, Errno, fanotify};

/// How long a queue may be to be filled; the system's own is 16384.
const LONGEST: usize = 1 << 17;
/// FAN_OPEN of the files in a directory, FAN_EVENT_ON_CHILD.
const OPENED_IN_IT: u64 = libc::FAN_OPEN | libc::FAN_EVENT_ON_CHILD;

/// Leaves the queue of one that watches nothing yet with nothing in it but the news that events were lost. Each file tells of its own
/// opening: two events on one file would be one.
pub fn tell(made: &OwnedFd) -> Answer<()> {
    let longest = fs::read_to_string("/proc/sys/fs/fanotify/max_queued_events");
    let longest = longest.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(LONGEST);
    if longest > LONGEST {
        tracing::warn!(
            longest,
            "the queue of fanotify is too long to be filled: the program is not told that it missed events"
        );
        return Ok(());
    }
    // In memory, if there is room.
    let places = [PathBuf::from("/dev/shm"), std::env::temp_dir()];
    let mut filled = Err(Errno::ENOENT);
    for place in &places {
        filled = fill(made, place, longest);
        if filled.is_ok() {
            break;
        }
    }
    filled
}

fn fill(made: &OwnedFd, place: &Path, longest: usize) -> Answer<()> {
    let folder = tempfile::Builder::new().prefix("dormouse-").tempdir_in(place).map_err(errno)?;
    // What another place has left.
    while fanotify::take(made, 1 << 16).is_ok_and(|(_, count)| count > 0) {}
    fanotify::mark(made, libc::FAN_MARK_ADD, OPENED_IN_IT, folder.path())?;
    let make = |number: usize| File::create(folder.path().join(format!("{number:06}"))).map(drop).map_err(errno);
    // All names are of one length, and so are all events.
    make(0)?;
    let (length, _) = fanotify::take(made, 4096)?;
    (1..=longest + 1).try_for_each(make)?;
    let mut left = longest;
    while left > 0 {
        let (_, taken) = fanotify::take(made, length * left.min(64))?;
        if taken == 0 {
            return Err(Errno::EIO);
        }
        left = left.saturating_sub(taken);
    }
    fanotify::mark(made, libc::FAN_MARK_REMOVE, OPENED_IN_IT, folder.path())
}

fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
