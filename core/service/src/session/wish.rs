//! That a session is to wake at the next login, whatever its user has chosen for the logout: it was put to sleep for a restart.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use dormouse_wire::dbus::Failure;
use nix::fcntl::OFlag;

use super::Hands;

/// The file in the folder of images that says so.
const WISH: &str = "session.wake";

/// Writes it down. Without a folder of images nothing sleeps that could be woken.
pub fn write(hands: &mut dyn Hands) -> Result<(), Failure> {
    hands.note(&mut |folder: &Path| {
        // A FIFO in its place is not waited for.
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        options.open(folder.join(WISH))?.sync_all()?;
        File::open(folder)?.sync_all()
    })
}

/// Whether it is.
pub fn is_there(hands: &mut dyn Hands) -> Result<bool, Failure> {
    let mut found = false;
    hands.note(&mut |folder: &Path| {
        found = folder.join(WISH).symlink_metadata().is_ok();
        Ok(())
    })?;
    Ok(found)
}

/// It has been granted, or is not wanted any more.
pub fn forget(hands: &mut dyn Hands) -> Result<(), Failure> {
    hands.note(&mut |folder: &Path| match fs::remove_file(folder.join(WISH)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        answer => answer,
    })
}
