//! alarm(2): the signal comes once, and not before its time.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::kernel::{self, call};
use crate::signals::{COUNT, count, handle};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    handle(libc::SIGALRM, count as *const () as usize, libc::SA_SIGINFO | libc::SA_RESTART, 0)?;
    let begin = Instant::now();
    call(libc::SYS_alarm, &[3])?;
    stage.wrong.equal("alarms so far", COUNT.load(Ordering::SeqCst), 0);
    stage.ready_and_wait()?;
    stage.wrong.holds("the alarm comes", kernel::until(|| COUNT.load(Ordering::SeqCst) > 0));
    let after = begin.elapsed();
    stage.wrong.holds(&format!("not before its time, but after {after:?}"), after >= Duration::from_secs(3));
    kernel::nap(Duration::from_millis(50));
    stage.wrong.equal("how often it comes", COUNT.load(Ordering::SeqCst), 1);
    Ok(())
}
