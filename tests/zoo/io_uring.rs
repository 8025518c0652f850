//! An io_uring: the engine cannot hold it, and must say so by name.

use std::os::fd::AsRawFd;

use crate::descriptors::owned;
use crate::kernel::{call, into};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    let mut parameters = [0_u8; 120];
    let ring = match call(libc::SYS_io_uring_setup, &[4, into(&mut parameters)]) {
        Ok(fd) => owned(fd),
        Err(error) => return cannot(format!("io_uring_setup: {error}")),
    };
    stage.keeps(|wrong| {
        let entered = call(libc::SYS_io_uring_enter, &[ring.as_raw_fd() as usize, 0, 0, 0, 0, 0]);
        wrong.gives("the ring answers", entered, 0);
    })
}
