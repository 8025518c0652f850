//! Timerfds: once, periodic, expired and periodic, absolute, not armed, on several clocks.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::descriptors::{owned, read, would_wait};
use crate::kernel::{at, call, into, nap};
use crate::stage::{Held, Stage, Trouble};
use std::os::fd::AsRawFd;

/// Interval and rest, each in seconds and nanoseconds.
type Time = [i64; 4];

fn make(clock: i32, absolute: bool, time: Time) -> Result<OwnedFd, Trouble> {
    let fd = owned(call(libc::SYS_timerfd_create, &[clock as usize, libc::TFD_NONBLOCK as usize])?);
    call(libc::SYS_timerfd_settime, &[fd.as_raw_fd() as usize, usize::from(absolute), at(&time), 0])?;
    Ok(fd)
}

fn get(fd: &OwnedFd) -> Time {
    let mut time = [-1; 4];
    let _ = call(libc::SYS_timerfd_gettime, &[fd.as_raw_fd() as usize, into(&mut time)]);
    time
}

/// How often it has expired; 0 when it has not.
fn expired(fd: &OwnedFd) -> u64 {
    read(fd, 8).ok().and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

/// Seconds from now on the realtime clock.
fn later(seconds: i64) -> Time {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    [0, 0, now.tv_sec + seconds, now.tv_nsec]
}

pub fn hold(stage: &mut Stage) -> Held {
    let once = make(libc::CLOCK_MONOTONIC, false, [0, 0, 1000, 0])?;
    let soon = make(libc::CLOCK_MONOTONIC, false, [0, 0, 3, 0])?;
    let periodic = make(libc::CLOCK_BOOTTIME, false, [900, 7, 1000, 0])?;
    let absolute = make(libc::CLOCK_REALTIME, true, later(1000))?;
    let unarmed = make(libc::CLOCK_MONOTONIC, false, [0; 4])?;
    let gone_off = make(libc::CLOCK_MONOTONIC, false, [0, 0, 0, 1])?;
    let going_off = make(libc::CLOCK_MONOTONIC, false, [0, 20_000_000, 0, 1])?;
    nap(Duration::from_millis(70));
    stage.keeps(|wrong| {
        for (name, fd, interval) in
            [("once", &once, [0, 0]), ("periodic", &periodic, [900, 7]), ("absolute", &absolute, [0, 0])]
        {
            let time = get(fd);
            wrong.equal(&format!("interval, {name}"), [time[0], time[1]], interval);
            wrong.holds(&format!("rest, {name}: {} s", time[2]), (800..=1000).contains(&time[2]));
            wrong.holds(&format!("{name} has not expired"), would_wait(&read(fd, 8)));
        }
        wrong.equal("not armed", get(&unarmed), [0; 4]);
        wrong.equal("gone off once", get(&gone_off), [0; 4]);
        wrong.equal("interval of the one that goes off", get(&going_off)[..2].to_vec(), vec![0, 20_000_000]);
    })?;
    stage.wrong.equal("it has gone off once", expired(&gone_off), 1);
    stage.wrong.holds("it has gone off several times", expired(&going_off) >= 3);
    for _ in 0..2 {
        nap(Duration::from_millis(60));
        stage.wrong.holds("it goes off on and on", expired(&going_off) >= 1);
    }
    stage.wrong.holds("the one that comes soon comes", crate::kernel::until(|| expired(&soon) == 1));
    Ok(())
}
