//! futex waits: for a time, until a time, without end, private and shared, and woken in the end.

use std::sync::atomic::AtomicU32;

use crate::interrupted::{Call, LIMIT, course};
use crate::kernel::{at, call};
use crate::stage::{Held, Stage};

const WAIT: usize = 0;
const WAKE: usize = 1;
const WAIT_BITSET: usize = 9;
const PRIVATE: usize = 128;
const ALL: usize = 0xffff_ffff;

static SILENT: AtomicU32 = AtomicU32::new(7);
static LOUD: AtomicU32 = AtomicU32::new(7);

/// The result, where the end of the time counts as 110.
fn wait(word: &AtomicU32, operation: usize, time: usize) -> Result<i64, String> {
    match call(libc::SYS_futex, &[at(word), operation, 7, time, 0, ALL]) {
        Err(error) if error.raw_os_error() == Some(libc::ETIMEDOUT) => Ok(110),
        other => other.map_err(|error| error.to_string()),
    }
}

fn later() -> [i64; 2] {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    [now.tv_sec + LIMIT.as_secs() as i64, now.tv_nsec]
}

pub fn hold(stage: &mut Stage) -> Held {
    let number = libc::SYS_futex;
    let calls = vec![
        Call::start("futex limit", number, Some(LIMIT), 110, || {
            let time = [LIMIT.as_secs() as i64, 0];
            wait(&SILENT, WAIT | PRIVATE, at(&time))
        })?,
        Call::start("futex shared limit", number, Some(LIMIT), 110, || {
            let time = [LIMIT.as_secs() as i64, 0];
            wait(&SILENT, WAIT, at(&time))
        })?,
        Call::start("futex until", number, Some(LIMIT), 110, || {
            let time = later();
            wait(&SILENT, WAIT_BITSET | PRIVATE, at(&time))
        })?,
        Call::start("futex", number, None, 0, || wait(&LOUD, WAIT | PRIVATE, 0))?,
        Call::start("futex bitset", number, None, 0, || wait(&LOUD, WAIT_BITSET | PRIVATE, 0))?,
    ];
    course(stage, calls, || {
        let woken = call(number, &[at(&LOUD), WAKE | PRIVATE, 10, 0, 0, 0])?;
        if woken == 2 {
            Ok(())
        } else {
            Err(crate::stage::Trouble::Failed(format!("{woken} waiters woken instead of 2")))
        }
    })
}
