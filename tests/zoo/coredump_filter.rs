//! Which memory a core dump holds, core(5).

use std::fs;

use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    fs::write("/proc/self/coredump_filter", "0x51")?;
    stage.keeps(|wrong| {
        wrong.gives("coredump_filter", fs::read_to_string("/proc/self/coredump_filter"), "00000051\n".to_owned());
    })
}
