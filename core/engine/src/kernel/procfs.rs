//! Where the engine finds proc(5): at /proc, or in a mount of its own that nobody can put anything over, where whoever is looked at could
//! have changed what /proc is.

use std::cell::Cell;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{Answer, mounts};

static OWN: OnceLock<()> = OnceLock::new();

thread_local! {
    /// The working directory of this thread is it.
    static HERE: Cell<bool> = const { Cell::new(false) };
}

/// A proc(5) of the pid namespace of this process, attached nowhere.
pub fn new() -> Answer<OwnedFd> {
    mounts::new_filesystem("proc", b"proc", &[])
}

/// From now on this is what the engine looks into. It becomes the working directory, which must not change any more.
pub fn trust_only(mounted: &OwnedFd) -> Answer<()> {
    nix::unistd::fchdir(mounted)?;
    let _ = OWN.set(());
    Ok(())
}

/// Does something while it is the working directory of this thread.
pub fn from_here<T>(work: impl FnOnce() -> T) -> T {
    let before = HERE.replace(true);
    let done = work();
    HERE.set(before);
    done
}

/// The folder, `/proc` for most.
pub fn root() -> &'static Path {
    Path::new(if OWN.get().is_some() || HERE.get() { "." } else { "/proc" })
}

/// Something in it.
pub fn path(name: impl AsRef<Path>) -> PathBuf {
    root().join(name)
}

/// The path by which a descriptor of this process is reached.
pub fn descriptor(file: &impl AsRawFd) -> PathBuf {
    path(format!("self/fd/{}", file.as_raw_fd()))
}
