//! How willingly the kernel ends a process when memory runs out: oom_score_adj.

use std::fs;

use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    fs::write("/proc/self/oom_score_adj", "321")?;
    stage
        .keeps(|wrong| wrong.gives("oom_score_adj", fs::read_to_string("/proc/self/oom_score_adj"), "321\n".to_owned()))
}
