//! Timers read through a descriptor, timerfd_create(2): clock, what is left, interval, expiries nobody has read yet.

// zoo: timerfd

use std::os::fd::{AsRawFd, OwnedFd};

use dormouse_wire::{Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};

use super::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, not_made};
use crate::kernel::anonymous::{self, Time};
use crate::kernel::{Answer, clocks, files};
use crate::proc::fdinfo::{self, FdDetail};

/// The kind.
#[derive(Debug)]
pub struct Timerfd;

/// A timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// CLOCK_*.
    clock: i32,
    /// TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET.
    flags: i32,
    /// What is left until it expires, seconds and nanoseconds; zero: it is not armed.
    left: Time,
    /// Between two expiries, seconds and nanoseconds.
    interval: Time,
    /// Expiries that have not been read.
    ticks: u64,
    /// For one set to a time of day: that time, in nanoseconds since 1970.
    expires: Option<i64>,
}

const SECOND: i64 = 1_000_000_000;

impl FileKind for Timerfd {
    type Record = Record;

    fn name(&self) -> &'static str {
        "timerfd"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        facts.link == b"anon_inode:[timerfd]"
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        let mut problems = files.refuse_shared(facts, ProblemKind::AnonymousFile);
        if settings(&facts.info.details).is_some_and(|(_, flags)| flags & libc::TFD_TIMER_CANCEL_ON_SET != 0) {
            let what = phrase!("this timer tells its program when somebody sets the clock");
            let loss = phrase!("word of a clock that was set before the thaw");
            problems.push(facts.loss(ProblemKind::AnonymousFile, what, loss));
        }
        problems
    }

    fn capture(&self, facts: &FileFacts, _capture: &mut Capture<'_>) -> Result<Record, Problem> {
        let failed = |error: &dyn std::fmt::Display| {
            facts.problem(ProblemKind::AnonymousFile, phrase!("the timer cannot be read: {why}", why = error))
        };
        record(&facts.file).map_err(|error| failed(&error))
    }

    fn restore(
        &self,
        record: &Record,
        _id: FileId,
        file: &OpenFile,
        _restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        make(record, file.flags).map_err(failed)
    }

    fn starts_ready(&self, record: &Record) -> bool {
        record.ticks > 0
    }

    fn start(&self, record: &Record, _file: &OpenFile, made: &OwnedFd) -> Result<(), Problem> {
        start(record, made).map_err(failed)
    }
}

fn failed(errno: crate::kernel::Errno) -> Problem {
    not_made(phrase!("a timer"), errno)
}

/// Clock and flags.
fn settings(details: &[FdDetail]) -> Option<(i32, i32)> {
    let clock = details.iter().find_map(|detail| match detail {
        FdDetail::TimerClock(clock) => Some(*clock),
        _ => None,
    });
    let flags = details.iter().find_map(|detail| match detail {
        FdDetail::TimerFlags(flags) => Some(*flags as i32),
        _ => None,
    });
    clock.zip(flags)
}

fn of_the_day(clock: i32) -> bool {
    clock == libc::CLOCK_REALTIME || clock == libc::CLOCK_REALTIME_ALARM
}

fn record(file: &std::fs::File) -> Result<Record, crate::proc::ProcError> {
    let path = format!("self/fdinfo/{}", file.as_raw_fd());
    let kernel = |errno: crate::kernel::Errno| crate::proc::ProcError::Io {
        path: std::path::Path::new("/proc").join(&path),
        source: errno.into(),
    };
    // The kernel counts the expiries of a periodic timer only when it is asked for the rest: so the rest comes first.
    let (left, interval) = anonymous::timer(file).map_err(kernel)?;
    let [_, _, now] = clocks::now();
    let info = crate::proc::parsed_system(&path, fdinfo::parse)?;
    let (clock, flags) = settings(&info.details).ok_or_else(|| kernel(crate::kernel::Errno::ENODATA))?;
    let ticks = info.details.iter().find_map(|detail| match detail {
        FdDetail::TimerTicks(ticks) => Some(*ticks),
        _ => None,
    });
    let absolute = flags & libc::TFD_TIMER_ABSTIME != 0 && of_the_day(clock) && left != (0, 0);
    let expires = absolute.then(|| now.saturating_add(nanoseconds(left)));
    Ok(Record { clock, flags, left, interval, ticks: ticks.unwrap_or(0), expires })
}

fn nanoseconds((seconds, nanoseconds): Time) -> i64 {
    seconds.saturating_mul(SECOND).saturating_add(nanoseconds)
}

/// It does not run yet, but can be read: an epoll set that has a used-up one-shot watch on it wants that, see `epoll`.
fn make(record: &Record, flags: i32) -> Answer<OwnedFd> {
    let made = anonymous::timerfd(record.clock)?;
    anonymous::set_ticks(&made, 1)?;
    files::set_status(&made, flags)?;
    Ok(made)
}

fn start(record: &Record, made: &OwnedFd) -> Answer<()> {
    let value = match record.expires {
        Some(expires) => (expires.div_euclid(SECOND), expires.rem_euclid(SECOND)),
        // Absolute on a clock that begins at boot: as far away as it was.
        None if record.flags & libc::TFD_TIMER_ABSTIME != 0 && record.left != (0, 0) => {
            let now = clocks::of(record.clock)?;
            let expires = now.saturating_add(nanoseconds(record.left));
            (expires / SECOND, expires % SECOND)
        }
        None => record.left,
    };
    anonymous::set_timer(made, record.flags, value, record.interval)?;
    if record.ticks > 0 { anonymous::set_ticks(made, record.ticks) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn again(before: &Record) -> Result<Record, Box<dyn std::error::Error>> {
        let made = make(before, libc::O_NONBLOCK)?;
        start(before, &made)?;
        Ok(record(&File::from(made))?)
    }

    #[test]
    fn a_timer_comes_back_as_it_was() -> Result<(), Box<dyn std::error::Error>> {
        let plain =
            Record { clock: libc::CLOCK_MONOTONIC, flags: 0, left: (0, 0), interval: (0, 0), ticks: 0, expires: None };
        assert_eq!(again(&plain)?, plain);
        let expired = Record { ticks: 1, ..plain };
        assert_eq!(again(&expired)?, expired);
        let periodic = Record { left: (900, 5), interval: (1000, 7), ticks: 1 << 40, ..plain };
        let found = again(&periodic)?;
        assert!((899..=900).contains(&found.left.0), "{found:?}");
        assert_eq!(Record { left: periodic.left, ..found }, periodic);
        Ok(())
    }

    #[test]
    fn a_time_of_the_day_stays_that_time() -> Result<(), Box<dyn std::error::Error>> {
        let [_, _, now] = clocks::now();
        let expires = now + 500 * SECOND;
        let absolute = Record {
            clock: libc::CLOCK_REALTIME,
            flags: libc::TFD_TIMER_ABSTIME,
            left: (700, 0),
            interval: (0, 0),
            ticks: 0,
            expires: Some(expires),
        };
        let found = again(&absolute)?;
        assert!((498..=500).contains(&found.left.0), "{found:?}");
        assert!(found.expires.is_some_and(|found| (found - expires).abs() < SECOND));
        Ok(())
    }

    #[test]
    fn a_time_since_boot_stays_as_far_away() -> Result<(), Box<dyn std::error::Error>> {
        let absolute = Record {
            clock: libc::CLOCK_BOOTTIME,
            flags: libc::TFD_TIMER_ABSTIME,
            left: (700, 0),
            interval: (0, 0),
            ticks: 0,
            expires: None,
        };
        assert!((698..=700).contains(&again(&absolute)?.left.0));
        Ok(())
    }
}
