//! A program in the kernel, bpf(2): the engine cannot hold it, and must say so by name.

use std::io;
use std::os::fd::OwnedFd;

use crate::descriptors::{info, owned};
use crate::kernel::{at, call};
use crate::stage::{Held, Stage, cannot};

/// A program for sockets that takes nothing in.
pub fn load() -> io::Result<OwnedFd> {
    const LOAD: usize = 5;
    const SOCKET_FILTER: u64 = 1;
    // r0 = 0; exit
    let instructions = [0xb7_u64, 0x95];
    let license = c"GPL";
    let attributes =
        [SOCKET_FILTER | (instructions.len() as u64) << 32, at(&instructions) as u64, license.as_ptr() as u64, 0, 0, 0];
    call(libc::SYS_bpf, &[LOAD, at(&attributes), 48]).map(owned)
}

pub fn hold(stage: &mut Stage) -> Held {
    let program = match load() {
        Ok(program) => program,
        Err(error) => return cannot(format!("bpf(BPF_PROG_LOAD): {error}")),
    };
    stage.keeps(|wrong| wrong.holds("it is loaded", info(&program).contains("prog_type:\t1\n")))
}
