//! A table that programs in the kernel use, bpf(2): the engine cannot hold it, and must say so by name.

use std::os::fd::AsRawFd;

use crate::descriptors::owned;
use crate::kernel::{at, call, into};
use crate::stage::{Held, Stage, cannot};

const MAP_CREATE: usize = 0;
const MAP_LOOK_UP: usize = 1;
const MAP_UPDATE: usize = 2;

pub fn hold(stage: &mut Stage) -> Held {
    const ARRAY: u32 = 2;
    // Type, size of a key, size of a value, how many.
    let attributes = [ARRAY, 4, 8, 1];
    let map = match call(libc::SYS_bpf, &[MAP_CREATE, at(&attributes), 16]) {
        Ok(fd) => owned(fd),
        Err(error) => return cannot(format!("bpf(BPF_MAP_CREATE): {error}")),
    };
    let (key, value) = (0_u32, 4711_u64);
    let element = |value: usize| [map.as_raw_fd() as u64, at(&key) as u64, value as u64, 0];
    call(libc::SYS_bpf, &[MAP_UPDATE, at(&element(at(&value))), 32])?;
    stage.keeps(|wrong| {
        let mut found = 0_u64;
        let looked = call(libc::SYS_bpf, &[MAP_LOOK_UP, at(&element(into(&mut found))), 32]);
        wrong.gives("looking into it", looked, 0);
        wrong.equal("its value", found, value);
    })
}
