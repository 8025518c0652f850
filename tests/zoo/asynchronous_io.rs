//! A context for asynchronous I/O (io_setup): the engine cannot hold it, and must say so by name.

use crate::kernel::{call, into};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    let mut context = 0_usize;
    if let Err(error) = call(libc::SYS_io_setup, &[8, into(&mut context)]) {
        return cannot(format!("io_setup: {error}"));
    }
    stage.keeps(|wrong| {
        let mut events = [0_u64; 4];
        let taken = call(libc::SYS_io_getevents, &[context, 0, 1, into(&mut events), 0]);
        wrong.gives("no event waits", taken, 0);
    })
}
