//! A timer of short intervals, setitimer(2), which has expired again whenever the program is stopped: the kernel starts it anew when
//! the program takes its signal, and tells until then that nothing is left of it.

use std::sync::atomic::Ordering;

use crate::kernel::{self, at, call};
use crate::signals::{COUNT, count, handle};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    handle(libc::SIGALRM, count as *const () as usize, libc::SA_SIGINFO | libc::SA_RESTART, 0)?;
    let short: [i64; 4] = [0, 1000, 0, 1000];
    call(libc::SYS_setitimer, &[libc::ITIMER_REAL as usize, at(&short), 0])?;
    stage.ready_and_wait()?;
    let before = COUNT.load(Ordering::SeqCst);
    let enough = kernel::until(|| COUNT.load(Ordering::SeqCst) >= before + 100);
    stage.wrong.holds("the timer goes on", enough);
    Ok(())
}
