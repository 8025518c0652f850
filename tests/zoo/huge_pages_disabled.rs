//! No huge pages for this process, whatever the system's setting (PR_SET_THP_DISABLE).

use crate::kernel::prctl;
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    prctl(libc::PR_SET_THP_DISABLE, &[1, 0, 0, 0])?;
    stage.keeps(|wrong| wrong.gives("PR_GET_THP_DISABLE", prctl(libc::PR_GET_THP_DISABLE, &[0, 0, 0, 0]), 1))
}
