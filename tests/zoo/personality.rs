//! The execution domain, personality(2): no randomization of addresses, the old release name.

use crate::kernel::call;
use crate::stage::{Held, Stage};

const WANTED: usize = 0x004_0000 | 0x002_0000;

pub fn hold(stage: &mut Stage) -> Held {
    call(libc::SYS_personality, &[WANTED])?;
    stage.keeps(|wrong| wrong.gives("personality", call(libc::SYS_personality, &[0xffff_ffff]), WANTED as i64))
}
