//! One thaw of an image at a time, and none while the group runs that was woken from it: two of it would work on the same files.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use dormouse_engine::pid_namespace;
use dormouse_wire::ProcessName;
use nix::fcntl::{Flock, FlockArg, OFlag};

/// As long as this is there nobody else thaws the image; on a filesystem without locks anybody may.
#[derive(Debug)]
pub struct Alone {
    _lock: Option<Flock<File>>,
}

impl Alone {
    /// Waits for whoever thaws it now; the first process of its group, if that runs. An image that cannot be opened is for the thaw to tell
    /// of.
    pub fn with(image: &Path) -> Result<Self, ProcessName> {
        // No FIFO is waited for.
        let opened = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(image);
        let lock = opened.ok().and_then(|file| Flock::lock(file, FlockArg::LockExclusive).ok());
        pid_namespace::awake(image).map_or(Ok(Self { _lock: lock }), Err)
    }
}
