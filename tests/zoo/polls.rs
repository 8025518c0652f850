//! poll and ppoll: with a time limit, without one, with a mask of signals, and ready in the end.

use std::io::{Write, pipe};
use std::os::fd::AsRawFd;

use crate::interrupted::{Call, LIMIT, course};
use crate::kernel::{at, call, into};
use crate::stage::{Held, Stage};

fn poll(fd: i32, number: i64, limit: usize, mask: usize) -> Result<i64, String> {
    let mut watched = [libc::pollfd { fd, events: libc::POLLIN, revents: 0 }];
    let arguments = [into(&mut watched), 1, limit, mask, 8];
    let ready = call(number, &arguments).map_err(|error| error.to_string())?;
    Ok(ready * 100 + i64::from(watched[0].revents))
}

pub fn hold(stage: &mut Stage) -> Held {
    let (silent, _silent) = pipe()?;
    let (loud, mut speaker) = pipe()?;
    let (silent, loud) = (silent.as_raw_fd(), loud.as_raw_fd());
    let milliseconds = LIMIT.as_millis() as usize;
    let (poll_call, ppoll_call) = (libc::SYS_poll, libc::SYS_ppoll);
    let ready = 100 + i64::from(libc::POLLIN);
    let calls = vec![
        Call::start("poll limit", poll_call, Some(LIMIT), 0, move || poll(silent, poll_call, milliseconds, 0))?,
        Call::start("poll", poll_call, None, ready, move || poll(loud, poll_call, usize::MAX, 0))?,
        Call::start("ppoll limit", ppoll_call, Some(LIMIT), 0, move || {
            poll(silent, ppoll_call, at(&[LIMIT.as_secs() as i64, 0]), at(&u64::MAX))
        })?,
        Call::start("ppoll", ppoll_call, None, ready, move || poll(loud, ppoll_call, 0, at(&0_u64)))?,
    ];
    course(stage, calls, || Ok(speaker.write_all(b"now")?))
}
