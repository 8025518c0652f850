//! PR_SET_NO_NEW_PRIVS: once set, never cleared.

use crate::kernel::prctl;
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    prctl(libc::PR_SET_NO_NEW_PRIVS, &[1, 0, 0, 0])?;
    stage.keeps(|wrong| wrong.gives("no_new_privs", prctl(libc::PR_GET_NO_NEW_PRIVS, &[0, 0, 0, 0]), 1))
}
