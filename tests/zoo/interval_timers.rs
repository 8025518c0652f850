//! The three interval timers, setitimer(2): one that comes while the program waits, two that count its work.

use std::sync::atomic::Ordering;

use crate::kernel::{self, at, call, into};
use crate::signals::{COUNT, count, handle};
use crate::stage::{Held, Stage};

/// Interval and rest, each in seconds and microseconds.
type Timer = [i64; 4];

fn get(which: i32) -> Timer {
    let mut timer = [0; 4];
    let _ = call(libc::SYS_getitimer, &[which as usize, into(&mut timer)]);
    timer
}

pub fn hold(stage: &mut Stage) -> Held {
    handle(libc::SIGALRM, count as *const () as usize, libc::SA_SIGINFO | libc::SA_RESTART, 0)?;
    let timers: [(i32, Timer); 3] = [
        (libc::ITIMER_REAL, [0, 300_000, 5, 0]),
        (libc::ITIMER_VIRTUAL, [7, 0, 1000, 0]),
        (libc::ITIMER_PROF, [0, 0, 2000, 5]),
    ];
    for (which, timer) in timers {
        call(libc::SYS_setitimer, &[which as usize, at(&timer), 0])?;
    }
    stage.keeps(|wrong| {
        for (which, timer) in timers {
            let now = get(which);
            wrong.equal(&format!("interval of timer {which}"), &now[..2], &timer[..2]);
            wrong.holds(&format!("timer {which} runs: {now:?}"), now[2..] != [0, 0] && now[2] <= timer[2]);
        }
        let work = [get(libc::ITIMER_VIRTUAL)[2], get(libc::ITIMER_PROF)[2]];
        wrong.holds(&format!("work is not counted while asleep: {work:?}"), work[0] > 900 && work[1] > 1900);
    })?;
    let enough = kernel::until(|| COUNT.load(Ordering::SeqCst) >= 3);
    stage.wrong.holds("the timer comes, and again", enough);
    Ok(())
}
