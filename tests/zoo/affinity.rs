//! Which processors a thread may run on: one mask a thread.

use crate::kernel::{at, call, into};
use crate::stage::{Held, Stage, cannot};
use crate::workers::Workers;

fn mask() -> u64 {
    let mut mask = [0_u64; 16];
    let _ = call(libc::SYS_sched_getaffinity, &[0, 128, into(&mut mask)]);
    mask[0]
}

pub fn hold(stage: &mut Stage) -> Held {
    let all = mask();
    if all.count_ones() < 2 {
        return cannot("there is one processor only");
    }
    let (first, second) = (1 << all.trailing_zeros(), all & (all - 1));
    let wanted = [first, second];
    let set = move |number: usize| call(libc::SYS_sched_setaffinity, &[0, 8, at(&wanted[number])]).is_ok();
    let workers = Workers::start(2, set, move |number| mask() == wanted[number])?;
    stage.keeps(|wrong| {
        workers.look(wrong, "mask of thread");
        wrong.equal("mask of the main thread", mask(), all);
    })
}
