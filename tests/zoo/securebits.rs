//! Secure bits, locked ones among them, capabilities(7).

use crate::kernel::prctl;
use crate::stage::{Held, Stage};

/// NOROOT, its lock, and NO_SETUID_FIXUP.
const BITS: usize = 0b111;

pub fn hold(stage: &mut Stage) -> Held {
    prctl(libc::PR_SET_SECUREBITS, &[BITS])?;
    stage.keeps(|wrong| wrong.gives("PR_GET_SECUREBITS", prctl(libc::PR_GET_SECUREBITS, &[]), BITS as i64))
}
