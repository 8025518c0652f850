//! A request of asynchronous I/O that ends only when somebody counts, behind two that are done: the engine must refuse it,
//! and leave the ring as it was.

use std::os::fd::AsRawFd;

use crate::asynchronous_io::{counter, expected, file, made};
use crate::kernel::{at, call};
use crate::stage::{Held, Stage};

const POLL: u16 = 5;

pub fn hold(stage: &mut Stage) -> Held {
    let file = file(stage)?;
    let counter = counter()?;
    let context = made(8)?;
    context.read(&file, 40, 2, None)?;
    context.ask(42, POLL, counter.as_raw_fd(), (libc::POLLIN as usize, 0), None)?;
    stage.keeps(|wrong| wrong.equal("two are done", context.ring()[1..].to_vec(), vec![0, 2]))?;
    stage.wrong.gives("what was done before", context.take(8), expected(40, 2));
    let one = 1_u64;
    call(libc::SYS_write, &[counter.as_raw_fd() as usize, at(&one), 8])?;
    stage.wrong.gives("what ends now", context.take(8), vec![(42, i64::from(libc::POLLIN))]);
    Ok(())
}
