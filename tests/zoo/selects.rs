//! select and pselect: with a time limit, without one, and ready in the end.

use std::io::{Write, pipe};
use std::os::fd::AsRawFd;

use crate::interrupted::{Call, LIMIT, course};
use crate::kernel::{at, call, into};
use crate::stage::{Held, Stage};

fn select(number: i64, fd: i32, limit: Option<[i64; 2]>) -> Result<i64, String> {
    let mut set = [0_u64; 16];
    set[fd as usize / 64] |= 1 << (fd % 64);
    let mut limit = limit;
    let time = limit.as_mut().map_or(0, into);
    let mask = [at(&0_u64), 8];
    let last = if number == libc::SYS_pselect6 { at(&mask) } else { 0 };
    call(number, &[fd as usize + 1, into(&mut set), 0, 0, time, last]).map_err(|error| error.to_string())
}

pub fn hold(stage: &mut Stage) -> Held {
    let (silent, _silent) = pipe()?;
    let (loud, mut speaker) = pipe()?;
    let (silent, loud) = (silent.as_raw_fd(), loud.as_raw_fd());
    let limit = Some([LIMIT.as_secs() as i64, 0]);
    let (one, two) = (libc::SYS_select, libc::SYS_pselect6);
    let calls = vec![
        Call::start("select limit", one, Some(LIMIT), 0, move || select(one, silent, limit))?,
        Call::start("select", one, None, 1, move || select(one, loud, None))?,
        Call::start("pselect limit", two, Some(LIMIT), 0, move || select(two, silent, limit))?,
        Call::start("pselect", two, None, 1, move || select(two, loud, None))?,
    ];
    course(stage, calls, || Ok(speaker.write_all(b"now")?))
}
