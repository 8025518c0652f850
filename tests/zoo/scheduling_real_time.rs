//! SCHED_FIFO and SCHED_RR with priorities.

use crate::kernel::{at, call, into};
use crate::stage::{Held, Stage, cannot};
use crate::workers::Workers;

const POLICIES: [(i32, i32); 2] = [(libc::SCHED_FIFO, 5), (libc::SCHED_RR, 9)];

pub fn hold(stage: &mut Stage) -> Held {
    let set = |number: usize| {
        let (policy, priority) = POLICIES[number];
        call(libc::SYS_sched_setscheduler, &[0, policy as usize, at(&priority)]).is_ok()
    };
    let look = |number: usize| {
        let mut priority = 0_i32;
        let policy = call(libc::SYS_sched_getscheduler, &[0]).unwrap_or(-1) as i32;
        call(libc::SYS_sched_getparam, &[0, into(&mut priority)]).is_ok() && (policy, priority) == POLICIES[number]
    };
    if let Err(error) = call(libc::SYS_sched_setscheduler, &[0, libc::SCHED_FIFO as usize, at(&1_i32)]) {
        return cannot(format!("real-time scheduling: {error}"));
    }
    call(libc::SYS_sched_setscheduler, &[0, libc::SCHED_OTHER as usize, at(&0_i32)])?;
    let workers = Workers::start(POLICIES.len(), set, look)?;
    stage.keeps(|wrong| workers.look(wrong, "policy and priority of thread"))
}
