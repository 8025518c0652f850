//! Transparent huge pages: an area that asks for them, and a child that has switched them off for itself.

use crate::kernel::{prctl, status};
use crate::memory::Mapping;
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let mapping = Mapping::anonymous(4 * 512)?;
    mapping.advise(libc::MADV_HUGEPAGE)?;
    mapping.fill(1);
    let child = stage.child(|stage| {
        prctl(libc::PR_SET_THP_DISABLE, &[1, 0, 0, 0])?;
        stage.keeps(|wrong| {
            wrong.gives("PR_GET_THP_DISABLE", prctl(libc::PR_GET_THP_DISABLE, &[0, 0, 0, 0]), 1);
            wrong.equal("THP_enabled", status("/proc/self/status", "THP_enabled"), "0".to_owned());
        })
    })?;
    stage.keeps(|wrong| {
        wrong.holds("the mapping asks for huge pages", mapping.has_flag("hg"));
        wrong.equal("content", mapping.first_wrong_page(1), None);
        wrong.gives("PR_GET_THP_DISABLE", prctl(libc::PR_GET_THP_DISABLE, &[0, 0, 0, 0]), 0);
    })?;
    stage.join(child);
    Ok(())
}
