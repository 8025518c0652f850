//! The clocks that begin at boot: CLOCK_MONOTONIC does not see the sleep, CLOCK_BOOTTIME and CLOCK_REALTIME do, and what the
//! vdso tells is what the kernel tells.

use std::time::Duration;

use crate::kernel::{self, call, into};
use crate::stage::{Held, Stage, Wrong};

/// The table has the group sleep for two seconds.
const SLEEP: Duration = Duration::from_secs(2);
/// A loaded machine may let the program wait that long in its naps, and while it is built.
const STALL: Duration = Duration::from_millis(1200);

fn duration(time: libc::timespec) -> Duration {
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Through the C library, which asks the vdso.
fn now(clock: i32) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` lives through the call.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    duration(time)
}

fn asked(clock: i32) -> Result<Duration, std::io::Error> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    call(libc::SYS_clock_gettime, &[clock as usize, into(&mut time)]).map(|_| duration(time))
}

fn kernel_agrees(wrong: &mut Wrong) {
    for clock in [libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME, libc::CLOCK_REALTIME] {
        let (before, there, after) = (now(clock), asked(clock), now(clock));
        let between = there.is_ok_and(|there| (before..=after).contains(&there));
        wrong.holds(&format!("clock {clock}: vdso and kernel agree"), between);
    }
}

pub fn hold(stage: &mut Stage) -> Held {
    let clocks = [libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME, libc::CLOCK_REALTIME];
    kernel_agrees(&mut stage.wrong);
    let mut last = clocks.map(now);
    let mut largest = [Duration::ZERO; 3];
    stage.ready()?;
    while !stage.may_go() {
        kernel::nap(Duration::from_millis(5));
        let here = clocks.map(now);
        for index in 0..3 {
            match here[index].checked_sub(last[index]) {
                Some(step) => largest[index] = largest[index].max(step),
                None => stage
                    .wrong
                    .say(format!("clock {} went back from {:?} to {:?}", clocks[index], last[index], here[index])),
            }
        }
        last = here;
    }
    kernel_agrees(&mut stage.wrong);
    let [monotonic, boottime, realtime] = largest;
    if realtime < SLEEP {
        // Nobody has frozen it.
        return Ok(());
    }
    stage
        .wrong
        .holds(&format!("CLOCK_MONOTONIC does not see the sleep: {largest:?}"), monotonic + SLEEP <= realtime + STALL);
    stage.wrong.holds(&format!("CLOCK_BOOTTIME sees the sleep: {largest:?}"), boottime + STALL > SLEEP);
    Ok(())
}
