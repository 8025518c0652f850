//! One thaw of an image at a time, and none while the group runs that was woken from it: two of it would work on the same files.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use dormouse_engine::pid_namespace;
use dormouse_wire::ProcessName;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

/// As long as this is there nobody else thaws the image; on a filesystem without locks anybody may.
#[derive(Debug)]
pub struct Alone {
    _lock: Option<Flock<File>>,
}

impl Alone {
    /// Whether nobody thaws the image now, or for longer than a moment; as far as that can be known.
    pub fn is_free(image: &Path) -> bool {
        const MOMENT: Duration = Duration::from_secs(3);
        let end = Instant::now() + MOMENT;
        let Ok(mut file) = open(image) else { return true };
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Err((again, Errno::EWOULDBLOCK)) if Instant::now() < end => file = again,
                Err((_, Errno::EWOULDBLOCK)) => return false,
                _ => return true,
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for whoever thaws it now; the first process of its group, if that runs. An image that cannot be opened is for the thaw to tell
    /// of.
    pub fn with(image: &Path) -> Result<Self, ProcessName> {
        let lock = open(image).ok().and_then(|file| Flock::lock(file, FlockArg::LockExclusive).ok());
        pid_namespace::awake(image).map_or(Ok(Self { _lock: lock }), Err)
    }
}

/// No FIFO is waited for.
fn open(image: &Path) -> std::io::Result<File> {
    File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(image)
}
