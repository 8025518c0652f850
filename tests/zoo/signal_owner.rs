//! A pipe that tells one thread of its readiness by a signal: F_SETOWN_EX with a tid, F_SETSIG, O_ASYNC.

use std::io::pipe;
use std::os::fd::AsRawFd;

use crate::descriptors::{fcntl, write};
use crate::kernel::{at, call, into, tid};
use crate::signals::{bit, block};
use crate::stage::{Held, Stage};

/// `linux/fcntl.h`; the libc crate lacks them.
const F_SETSIG: i32 = 10;
const F_GETSIG: i32 = 11;
const F_SETOWN_EX: i32 = 15;
const F_GETOWN_EX: i32 = 16;
const F_OWNER_TID: i32 = 0;

pub fn hold(stage: &mut Stage) -> Held {
    let signal = libc::SIGRTMIN() + 6;
    block(bit(signal))?;
    let (reader, writer) = pipe()?;
    let own = [F_OWNER_TID, tid()];
    let fd = reader.as_raw_fd() as usize;
    call(libc::SYS_fcntl, &[fd, F_SETOWN_EX as usize, at(&own)])?;
    fcntl(&reader, F_SETSIG, signal)?;
    fcntl(&reader, libc::F_SETFL, libc::O_ASYNC)?;
    stage.keeps(|wrong| {
        let mut owner = [0_i32; 2];
        let asked = call(libc::SYS_fcntl, &[fd, F_GETOWN_EX as usize, into(&mut owner)]);
        wrong.gives("owner", asked.map(|_| owner), own);
        wrong.gives("signal", fcntl(&reader, F_GETSIG, 0), signal);
        wrong.gives("flags", fcntl(&reader, libc::F_GETFL, 0), libc::O_ASYNC);
    })?;
    write(&writer, b"x")?;
    let mut info = [0_i32; 32];
    let taken = call(libc::SYS_rt_sigtimedwait, &[at(&bit(signal)), into(&mut info), at(&[5_i64, 0]), 8]);
    stage.wrong.gives("the signal comes", taken, i64::from(signal));
    stage.wrong.equal("and says which descriptor", info[6], reader.as_raw_fd());
    Ok(())
}
