//! A shared mapping of a file that only root may open, in a child that has become somebody else.

use std::fs::{self, OpenOptions, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use crate::kernel::{self, call, status};
use crate::memory::{Mapping, PAGE, READ_WRITE};
use crate::stage::{Held, Stage};

/// Gives up all rights on files that root has.
pub fn become_somebody_else() -> Held {
    call(libc::SYS_setgroups, &[0, 0])?;
    call(libc::SYS_setresgid, &[3001, 3001, 3001])?;
    call(libc::SYS_setresuid, &[3001, 3001, 3001])?;
    Ok(())
}

/// A file of root's own, mapped; its descriptor is closed.
pub fn map(stage: &Stage) -> std::io::Result<Mapping> {
    // Whoever the program becomes must be able to say that it is ready.
    fs::set_permissions(stage.path("."), Permissions::from_mode(0o777))?;
    let path = stage.path("secret");
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    file.set_len(40 * PAGE as u64)?;
    Mapping::new(40 * PAGE, READ_WRITE, libc::MAP_SHARED, file.as_raw_fd(), 0)
}

pub fn hold(stage: &mut Stage) -> Held {
    let mapping = map(stage)?;
    mapping.write(PAGE, b"written before");
    let path = stage.path("secret");
    let child = stage.child(|stage| {
        become_somebody_else()?;
        stage.keeps(|wrong| {
            wrong.equal("what was written", &mapping.bytes()[PAGE..PAGE + 14], b"written before".as_slice());
            wrong.holds("the child may not open it", fs::read(&path).is_err());
            wrong.holds("it is another user", status("/proc/self/status", "Uid").trim().starts_with("3001"));
        })?;
        mapping.write(2 * PAGE, b"by the child");
        Ok(())
    })?;
    stage.ready_and_wait()?;
    let is_told = || &mapping.bytes()[2 * PAGE..2 * PAGE + 12] == b"by the child".as_slice();
    stage.wrong.holds("the mapping follows the child's", kernel::until(is_told));
    stage.join(child);
    Ok(())
}
