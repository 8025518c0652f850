//! The mask of permissions for new files.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::kernel::{call, status};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    call(libc::SYS_umask, &[0o151])?;
    stage.keeps(|wrong| wrong.equal("umask", status("/proc/self/status", "Umask"), "0151".to_owned()))?;
    let path = stage.path("new");
    fs::write(&path, "")?;
    stage.wrong.gives("mode of a new file", fs::metadata(&path).map(|data| data.permissions().mode() & 0o777), 0o626);
    Ok(())
}
