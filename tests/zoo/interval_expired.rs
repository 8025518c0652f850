//! A timer of short intervals, setitimer(2), which has expired and whose signal has not been taken yet: the kernel starts it anew
//! when that is, and tells until then that nothing is left of it. So it is with every timer that is shorter than a freeze.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::kernel::{self, at, call};
use crate::signals::{COUNT, block, count, handle};
use crate::stage::{Held, Stage};

const ALARM: u64 = 1 << (libc::SIGALRM - 1);

pub fn hold(stage: &mut Stage) -> Held {
    handle(libc::SIGALRM, count as *const () as usize, libc::SA_SIGINFO | libc::SA_RESTART, 0)?;
    block(ALARM)?;
    let short: [i64; 4] = [0, 1000, 0, 1000];
    call(libc::SYS_setitimer, &[libc::ITIMER_REAL as usize, at(&short), 0])?;
    kernel::nap(Duration::from_millis(20));
    stage.ready_and_wait()?;
    stage.wrong.equal("how often it came", COUNT.load(Ordering::SeqCst), 0);
    call(libc::SYS_rt_sigprocmask, &[libc::SIG_UNBLOCK as usize, at(&ALARM), 0, 8])?;
    let enough = kernel::until(|| COUNT.load(Ordering::SeqCst) >= 100);
    stage.wrong.holds("the timer goes on", enough);
    Ok(())
}
