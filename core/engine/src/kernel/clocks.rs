//! Clocks, clock_gettime(2).

use nix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC, CLOCK_BOOTTIME and CLOCK_REALTIME in nanoseconds, as this process sees them.
pub fn now() -> [i64; 3] {
    [ClockId::CLOCK_MONOTONIC, ClockId::CLOCK_BOOTTIME, ClockId::CLOCK_REALTIME].map(|clock| {
        clock_gettime(clock).map_or(0, |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec())
    })
}

/// What a clock shows, in nanoseconds; an alarm clock shows what the clock it belongs to shows.
pub fn of(clock: i32) -> super::Answer<i64> {
    let time = clock_gettime(ClockId::from_raw(clock))?;
    Ok(time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}
