//! SCHED_DEADLINE with its three times, on a thread of its own.

use crate::kernel::{at, call, into};
use crate::stage::{Held, Stage, cannot};
use crate::workers::Workers;

/// `struct sched_attr` by its words of 32 bits: size, policy, flags, nice, priority; runtime, deadline, period.
const WANTED: [u32; 12] = [48, 6, 1, 0, 0, 0, 5_000_000, 0, 40_000_000, 0, 80_000_000, 0];

fn attributes() -> [u32; 12] {
    let mut found = [0_u32; 12];
    let _ = call(libc::SYS_sched_getattr, &[0, into(&mut found), 48, 0]);
    found
}

pub fn hold(stage: &mut Stage) -> Held {
    let set = |_: usize| call(libc::SYS_sched_setattr, &[0, at(&WANTED), 0]).is_ok();
    let look = |_: usize| attributes()[1..] == WANTED[1..];
    if let Err(error) = call(libc::SYS_sched_setattr, &[0, at(&WANTED), 0]) {
        return cannot(format!("SCHED_DEADLINE: {error}"));
    }
    call(libc::SYS_sched_setscheduler, &[0, libc::SCHED_OTHER as usize, at(&0_i32)])?;
    let workers = Workers::start(1, set, look)?;
    stage.keeps(|wrong| workers.look(wrong, "times of thread"))
}
