//! Sleeping calls: nanosleep with and without a place for the rest, clock_nanosleep for a time and until a time.

use std::time::Duration;

use crate::interrupted::{Call, LIMIT, course, result};
use crate::kernel::{at, call, into};
use crate::stage::{Held, Stage};

fn time(duration: Duration) -> libc::timespec {
    libc::timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}

/// The time on a clock, and a limit more.
fn later(clock: i32) -> libc::timespec {
    let mut now = time(Duration::ZERO);
    // SAFETY: `now` lives through the call.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    now.tv_sec += LIMIT.as_secs() as i64;
    now
}

fn sleep(number: i64, arguments: &[usize]) -> Result<i64, String> {
    call(number, arguments).map_err(|error| error.to_string()).and_then(result)
}

pub fn hold(stage: &mut Stage) -> Held {
    let (nanosleep, clock_nanosleep) = (libc::SYS_nanosleep, libc::SYS_clock_nanosleep);
    let (monotonic, realtime) = (libc::CLOCK_MONOTONIC, libc::CLOCK_REALTIME);
    let absolute = libc::TIMER_ABSTIME as usize;
    let calls = vec![
        Call::start("nanosleep", nanosleep, Some(LIMIT), 0, move || sleep(nanosleep, &[at(&time(LIMIT)), 0]))?,
        Call::start("nanosleep rest", nanosleep, Some(LIMIT), 0, move || {
            let mut rest = time(Duration::ZERO);
            sleep(nanosleep, &[at(&time(LIMIT)), into(&mut rest)])
        })?,
        Call::start("clock_nanosleep", clock_nanosleep, Some(LIMIT), 0, move || {
            sleep(clock_nanosleep, &[monotonic as usize, 0, at(&time(LIMIT)), 0])
        })?,
        Call::start("until monotonic", clock_nanosleep, Some(LIMIT), 0, move || {
            sleep(clock_nanosleep, &[monotonic as usize, absolute, at(&later(monotonic)), 0])
        })?,
        Call::start("until realtime", clock_nanosleep, None, 0, move || {
            sleep(clock_nanosleep, &[realtime as usize, absolute, at(&later(realtime)), 0])
        })?,
    ];
    course(stage, calls, || Ok(()))
}
