//! SCHED_BATCH and SCHED_IDLE, each on a thread of its own, and SCHED_RESET_ON_FORK.

use crate::kernel::{at, call};
use crate::stage::{Held, Stage};
use crate::workers::Workers;

const POLICIES: [i32; 3] = [libc::SCHED_BATCH, libc::SCHED_IDLE, libc::SCHED_BATCH | libc::SCHED_RESET_ON_FORK];

pub fn hold(stage: &mut Stage) -> Held {
    let set = |number: usize| call(libc::SYS_sched_setscheduler, &[0, POLICIES[number] as usize, at(&0_i32)]).is_ok();
    let look = |number: usize| call(libc::SYS_sched_getscheduler, &[0]).ok() == Some(i64::from(POLICIES[number]));
    let workers = Workers::start(POLICIES.len(), set, look)?;
    stage.keeps(|wrong| workers.look(wrong, "policy of thread"))
}
