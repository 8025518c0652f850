//! The I/O priority, ioprio_set(2): best-effort 6 for one thread, idle for another.

use crate::kernel::call;
use crate::stage::{Held, Stage};
use crate::workers::Workers;

const PRIORITIES: [usize; 2] = [2 << 13 | 6, 3 << 13];
const WHO_PROCESS: usize = 1;

pub fn hold(stage: &mut Stage) -> Held {
    let set = |number: usize| call(libc::SYS_ioprio_set, &[WHO_PROCESS, 0, PRIORITIES[number]]).is_ok();
    let look = |number: usize| call(libc::SYS_ioprio_get, &[WHO_PROCESS, 0]).ok() == Some(PRIORITIES[number] as i64);
    let workers = Workers::start(2, set, look)?;
    stage.keeps(|wrong| workers.look(wrong, "I/O priority of thread"))
}
