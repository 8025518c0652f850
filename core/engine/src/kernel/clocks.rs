//! Clocks, clock_gettime(2).

use std::io::Write;

use nix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC, CLOCK_BOOTTIME and CLOCK_REALTIME in nanoseconds, as this process sees them.
pub fn now() -> [i64; 3] {
    [ClockId::CLOCK_MONOTONIC, ClockId::CLOCK_BOOTTIME, ClockId::CLOCK_REALTIME]
        .map(|clock| clock_gettime(clock).map_or(0, |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec()))
}

/// What a clock shows, in nanoseconds; an alarm clock shows what the clock it belongs to shows.
pub fn of(clock: i32) -> super::Answer<i64> {
    let time = clock_gettime(ClockId::from_raw(clock))?;
    Ok(time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

const CLONE_NEWTIME: i32 = 0x80;

/// Makes a time namespace for the processes that the calling thread makes from now on, with CLOCK_MONOTONIC and
/// CLOCK_BOOTTIME so many nanoseconds ahead of the first namespace's, time_namespaces(7). Linux 5.6; CAP_SYS_ADMIN and
/// CAP_SYS_TIME. ERANGE: a clock would show less than zero.
pub fn shift_for_children(monotonic: i64, boottime: i64) -> std::io::Result<()> {
    // SAFETY: unshare takes an integer; this flag changes nothing for the calling thread itself.
    super::checked(unsafe { libc::unshare(CLONE_NEWTIME) }.into())?;
    let line = |clock: ClockId, ahead: i64| {
        const SECOND: i64 = 1_000_000_000;
        format!("{} {} {}\n", clock.as_raw(), ahead.div_euclid(SECOND), ahead.rem_euclid(SECOND))
    };
    let offsets = line(ClockId::CLOCK_MONOTONIC, monotonic) + &line(ClockId::CLOCK_BOOTTIME, boottime);
    // The file is there for processes only; a thread is found as one by its own number. All clocks go in one write.
    let path = format!("/proc/{}/timens_offsets", nix::unistd::gettid());
    std::fs::File::options().write(true).open(path)?.write_all(offsets.as_bytes())
}
