//! PR_SET_CHILD_SUBREAPER: orphans among the descendants come to this process.

use std::fs;

use crate::kernel::{self, Ended, into, prctl};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    prctl(libc::PR_SET_CHILD_SUBREAPER, &[1])?;
    stage.keeps(|wrong| {
        let mut set = 0_i32;
        wrong.gives("PR_GET_CHILD_SUBREAPER", prctl(libc::PR_GET_CHILD_SUBREAPER, &[into(&mut set)]).map(|_| set), 1);
    })?;
    let note = stage.path("orphan");
    let middle = kernel::fork()?;
    if middle == 0 {
        let orphan = kernel::fork()?;
        if orphan == 0 {
            kernel::nap(std::time::Duration::from_millis(50));
            kernel::exit(9);
        }
        let written = fs::write(&note, orphan.to_string());
        kernel::exit(i32::from(written.is_err()));
    }
    stage.wrong.gives("the process between", kernel::wait_for(middle), Ended::Code(0));
    let orphan: i32 = fs::read_to_string(&note)?.parse()?;
    stage.wrong.gives("the orphan comes here", kernel::wait_for(orphan), Ended::Code(9));
    Ok(())
}
