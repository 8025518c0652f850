//! Nice values, one for each thread.

use crate::kernel::{call, tid};
use crate::stage::{Held, Stage};
use crate::workers::Workers;

fn own() -> i64 {
    // The system call gives 20 minus the nice value.
    20 - call(libc::SYS_getpriority, &[libc::PRIO_PROCESS as usize, 0]).unwrap_or(-100)
}

pub fn hold(stage: &mut Stage) -> Held {
    let set = |nice: usize| call(libc::SYS_setpriority, &[libc::PRIO_PROCESS as usize, tid() as usize, nice]);
    let workers =
        Workers::start(2, move |number| set(7 + number * 5).is_ok(), |number| own() == 7 + number as i64 * 5)?;
    set(3)?;
    stage.keeps(|wrong| {
        wrong.equal("nice of the main thread", own(), 3);
        workers.look(wrong, "nice of a thread");
    })
}
