//! How late a timer of a thread may come, PR_SET_TIMERSLACK, one value a thread.

use crate::kernel::prctl;
use crate::stage::{Held, Stage};
use crate::workers::Workers;

pub fn hold(stage: &mut Stage) -> Held {
    let set = |number: usize| prctl(libc::PR_SET_TIMERSLACK, &[70_000 + number]).is_ok();
    let look = |number: usize| prctl(libc::PR_GET_TIMERSLACK, &[]).ok() == Some(70_000 + number as i64);
    let workers = Workers::start(2, set, look)?;
    prctl(libc::PR_SET_TIMERSLACK, &[123_456])?;
    stage.keeps(|wrong| {
        wrong.gives("of the main thread", prctl(libc::PR_GET_TIMERSLACK, &[]), 123_456);
        workers.look(wrong, "of thread");
    })
}
