//! Who gets which signal when a descriptor is ready: F_SETOWN, F_SETSIG, O_ASYNC.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use crate::descriptors::{fcntl, write};
use crate::kernel::{at, call, into};
use crate::signals::{bit, block};
use crate::stage::{Held, Stage};

/// `linux/fcntl.h`; the libc crate lacks them.
const F_SETSIG: i32 = 10;
const F_GETSIG: i32 = 11;
const F_GETOWN_EX: i32 = 16;
const F_OWNER_PGRP: i32 = 2;

pub fn hold(stage: &mut Stage) -> Held {
    let signal = libc::SIGRTMIN() + 4;
    block(bit(signal))?;
    let own = std::process::id() as i32;
    let (one, other) = UnixStream::pair()?;
    fcntl(&one, libc::F_SETOWN, own)?;
    fcntl(&one, F_SETSIG, signal)?;
    fcntl(&one, libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK)?;
    let (group, _silent) = std::io::pipe()?;
    fcntl(&group, libc::F_SETOWN, -own)?;
    stage.keeps(|wrong| {
        wrong.gives("owner", fcntl(&one, libc::F_GETOWN, 0), own);
        wrong.gives("signal", fcntl(&one, F_GETSIG, 0), signal);
        wrong.gives("flags", fcntl(&one, libc::F_GETFL, 0).map(|flags| flags & libc::O_ASYNC), libc::O_ASYNC);
        // The raw system call, because libc takes a group for an error.
        let mut owner = [0_i32; 2];
        let asked = call(libc::SYS_fcntl, &[group.as_raw_fd() as usize, F_GETOWN_EX as usize, into(&mut owner)]);
        wrong.gives("owner that is a group", asked.map(|_| owner), [F_OWNER_PGRP, own]);
    })?;
    write(&other, b"x")?;
    let mut info = [0_i32; 32];
    let taken = call(libc::SYS_rt_sigtimedwait, &[at(&bit(signal)), into(&mut info), at(&[5_i64, 0]), 8]);
    stage.wrong.gives("the signal comes", taken, i64::from(signal));
    Ok(())
}
