//! A filter that asks another process (SECCOMP_RET_USER_NOTIF): the engine cannot hold it, and must say so by name.

use crate::descriptors::owned;
use crate::filters::{LISTENER, NOTIFY, install, no_new_privileges};
use crate::kernel::status;
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    no_new_privileges()?;
    let listener = match install(&[(libc::SYS_getppid, NOTIFY)], LISTENER) {
        Ok(listener) => owned(listener),
        Err(error) => return cannot(format!("seccomp user notification: {error}")),
    };
    stage.keeps(|wrong| wrong.equal("the mode", status("/proc/self/status", "Seccomp"), "2".to_owned()))?;
    drop(listener);
    Ok(())
}
