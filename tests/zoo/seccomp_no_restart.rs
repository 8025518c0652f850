//! Threads that wait with a timeout under a filter which ends the process at restart_syscall(2): that is how the kernel goes on
//! with such calls when something has stopped them.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use crate::filters::{ALL_THREADS, KILL, install, no_new_privileges};
use crate::interrupted::{Call, LIMIT, course, result};
use crate::kernel::{at, call};
use crate::stage::{Held, Stage, cannot};

static WORD: AtomicU32 = AtomicU32::new(0);

fn time(duration: Duration) -> libc::timespec {
    libc::timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}

pub fn hold(stage: &mut Stage) -> Held {
    no_new_privileges()?;
    if let Err(error) = install(&[(libc::SYS_restart_syscall, KILL)], ALL_THREADS) {
        return cannot(format!("seccomp: {error}"));
    }
    let (nanosleep, poll, futex) = (libc::SYS_nanosleep, libc::SYS_poll, libc::SYS_futex);
    let word = WORD.as_ptr() as usize;
    let calls = vec![
        Call::start("nanosleep", nanosleep, Some(LIMIT), 0, move || {
            call(nanosleep, &[at(&time(LIMIT)), 0]).map_err(|error| error.to_string()).and_then(result)
        })?,
        Call::start("poll", poll, Some(LIMIT), 0, move || {
            call(poll, &[0, 0, LIMIT.as_millis() as usize]).map_err(|error| error.to_string()).and_then(result)
        })?,
        Call::start("futex", futex, Some(LIMIT), i64::from(libc::ETIMEDOUT), move || {
            let waited = call(futex, &[word, libc::FUTEX_WAIT as usize, 0, at(&time(LIMIT)), 0, 0]);
            waited.map(|_| 0).or_else(|error| Ok(i64::from(error.raw_os_error().unwrap_or(0))))
        })?,
    ];
    course(stage, calls, || Ok(()))
}
