//! Calls that wait for signals: sigtimedwait with and without end, pause and sigsuspend, each in a thread of its own.

use std::sync::atomic::{AtomicI32, Ordering};

use crate::interrupted::{Call, LIMIT, course};
use crate::kernel::{at, call, tid};
use crate::signals::{bit, block, count, handle};
use crate::stage::{Held, Stage, Trouble};

/// What a thread waits for, or how long.
fn wait(signal: i32, limit: Option<[i64; 2]>) -> Result<i64, String> {
    let time = limit.as_ref().map_or(0, at);
    match call(libc::SYS_rt_sigtimedwait, &[at(&bit(signal)), 0, time, 8]) {
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok(11),
        other => other.map_err(|error| error.to_string()),
    }
}

/// pause and sigsuspend end with EINTR when a handler has run, and then only.
fn handled(result: std::io::Result<i64>) -> Result<i64, String> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::EINTR) => Ok(4),
        other => Err(format!("{other:?}")),
    }
}

static PAUSING: AtomicI32 = AtomicI32::new(0);
static SUSPENDED: AtomicI32 = AtomicI32::new(0);

pub fn hold(stage: &mut Stage) -> Held {
    let (coming, never, handled_one) = (libc::SIGRTMIN() + 1, libc::SIGRTMIN() + 2, libc::SIGRTMIN() + 3);
    handle(handled_one, count as *const () as usize, libc::SA_SIGINFO | libc::SA_RESTART, 0)?;
    block(bit(coming) | bit(never))?;
    let number = libc::SYS_rt_sigtimedwait;
    let calls = vec![
        Call::start("sigtimedwait limit", number, Some(LIMIT), 11, move || {
            wait(never, Some([LIMIT.as_secs() as i64, 0]))
        })?,
        Call::start("sigwaitinfo", number, None, i64::from(coming), move || wait(coming, None))?,
        Call::start("pause", libc::SYS_pause, None, 4, || {
            PAUSING.store(tid(), Ordering::SeqCst);
            handled(call(libc::SYS_pause, &[]))
        })?,
        Call::start("sigsuspend", libc::SYS_rt_sigsuspend, None, 4, move || {
            block(bit(handled_one)).map_err(|error| error.to_string())?;
            SUSPENDED.store(tid(), Ordering::SeqCst);
            let before = crate::signals::blocked().map_err(|error| error.to_string())?;
            let result = handled(call(libc::SYS_rt_sigsuspend, &[at(&(bit(never) | bit(coming))), 8]))?;
            let after = crate::signals::blocked().map_err(|error| error.to_string())?;
            if before == after { Ok(result) } else { Err(format!("mask {before:x} became {after:x}")) }
        })?,
    ];
    course(stage, calls, || {
        let pid = std::process::id() as usize;
        call(libc::SYS_kill, &[pid, coming as usize])?;
        for thread in [&PAUSING, &SUSPENDED] {
            call(libc::SYS_tgkill, &[pid, thread.load(Ordering::SeqCst) as usize, handled_one as usize])
                .map_err(Trouble::from)?;
        }
        Ok(())
    })
}
