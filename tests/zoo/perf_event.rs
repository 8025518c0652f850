//! A counter of events, perf_event_open(2): the engine cannot hold it, and must say so by name.

use crate::descriptors::{owned, read};
use crate::kernel::{at, call};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    const SOFTWARE: u64 = 1;
    const LENGTH: u64 = 64;
    const DUMMY: u64 = 9;
    const EXCLUDE_KERNEL_AND_HYPERVISOR: u64 = 0x60;
    // The first version of `struct perf_event_attr`.
    let attributes = [SOFTWARE | LENGTH << 32, DUMMY, 0, 0, 0, EXCLUDE_KERNEL_AND_HYPERVISOR, 0, 0];
    let (itself, none) = (0, usize::MAX);
    let counter = match call(libc::SYS_perf_event_open, &[at(&attributes), itself, none, none, 0]) {
        Ok(fd) => owned(fd),
        Err(error) => return cannot(format!("perf_event_open: {error}")),
    };
    stage.keeps(|wrong| wrong.gives("the counter", read(&counter, 8).map(|bytes| bytes.len()), 8))
}
