//! epoll_wait, epoll_pwait and epoll_pwait2: with a time limit and without one.

use std::io::{Write, pipe};
use std::os::fd::AsRawFd;

use crate::interrupted::{Call, LIMIT, course};
use crate::kernel::{at, call, into};
use crate::stage::{Held, Stage};

/// A set that watches one descriptor.
fn set(fd: i32) -> std::io::Result<usize> {
    let set = call(libc::SYS_epoll_create1, &[0])? as usize;
    let event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 4242 };
    call(libc::SYS_epoll_ctl, &[set, libc::EPOLL_CTL_ADD as usize, fd as usize, at(&event)])?;
    Ok(set)
}

fn wait(number: i64, set: usize, limit: usize) -> Result<i64, String> {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 4];
    let mask = 0_u64;
    let count = call(number, &[set, into(&mut events), 4, limit, at(&mask), 8]).map_err(|error| error.to_string())?;
    let data = events[0].u64;
    if count == 1 && data != 4242 { Err(format!("the event's data is {data}")) } else { Ok(count) }
}

pub fn hold(stage: &mut Stage) -> Held {
    let (silent, _silent) = pipe()?;
    let (loud, mut speaker) = pipe()?;
    let (silent, loud) = (set(silent.as_raw_fd())?, set(loud.as_raw_fd())?);
    let milliseconds = LIMIT.as_millis() as usize;
    let (one, two, three) = (libc::SYS_epoll_wait, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2);
    let calls = vec![
        Call::start("epoll_wait limit", one, Some(LIMIT), 0, move || wait(one, silent, milliseconds))?,
        Call::start("epoll_wait", one, None, 1, move || wait(one, loud, usize::MAX))?,
        Call::start("epoll_pwait limit", two, Some(LIMIT), 0, move || wait(two, silent, milliseconds))?,
        Call::start("epoll_pwait", two, None, 1, move || wait(two, loud, usize::MAX))?,
        Call::start("epoll_pwait2 limit", three, Some(LIMIT), 0, move || {
            wait(three, silent, at(&[LIMIT.as_secs() as i64, 0]))
        })?,
    ];
    course(stage, calls, || Ok(speaker.write_all(b"now")?))
}
