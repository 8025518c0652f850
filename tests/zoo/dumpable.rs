//! PR_SET_DUMPABLE: a process that wants neither core dumps nor tracers, beside one that does not mind.

use crate::kernel::prctl;
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let child = stage.child(|stage| {
        prctl(libc::PR_SET_DUMPABLE, &[0])?;
        stage.keeps(|wrong| wrong.gives("the child's dumpable", prctl(libc::PR_GET_DUMPABLE, &[]), 0))
    })?;
    stage.keeps(|wrong| wrong.gives("dumpable", prctl(libc::PR_GET_DUMPABLE, &[]), 1))?;
    stage.join(child);
    Ok(())
}
