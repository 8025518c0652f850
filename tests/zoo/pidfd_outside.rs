//! A handle on a process that is not part of the group: the system's first.

use crate::descriptors::{info, owned};
use crate::kernel::call;
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let handle = owned(call(libc::SYS_pidfd_open, &[1, 0])?);
    stage.keeps(|wrong| wrong.holds("its process", info(&handle).contains("Pid:\t1\n")))
}
