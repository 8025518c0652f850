//! A filter of a socket that is an eBPF program, SO_ATTACH_BPF: the kernel does not show it, and the engine must say so.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use crate::descriptors::owned;
use crate::kernel::{at, call};
use crate::sockets::{pair, receive, send, set};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    const LOAD: usize = 5;
    const SOCKET_FILTER: u64 = 1;
    const SO_ATTACH_BPF: i32 = 50;
    // r0 = 0; exit
    let instructions = [0xb7_u64, 0x95];
    let license = c"GPL";
    let attributes =
        [SOCKET_FILTER | (instructions.len() as u64) << 32, at(&instructions) as u64, license.as_ptr() as u64, 0, 0, 0];
    let program = match call(libc::SYS_bpf, &[LOAD, at(&attributes), 48]) {
        Ok(fd) => owned(fd),
        Err(error) => return cannot(format!("bpf(BPF_PROG_LOAD): {error}")),
    };
    let (unix, other) = pair(libc::SOCK_DGRAM)?;
    let udp = UdpSocket::bind("127.0.0.1:0")?;
    set(&unix, libc::SOL_SOCKET, SO_ATTACH_BPF, program.as_raw_fd())?;
    set(&udp, libc::SOL_SOCKET, SO_ATTACH_BPF, program.as_raw_fd())?;
    drop(program);
    stage.keeps(|wrong| {
        // It takes nothing in.
        wrong.holds("it can be sent to", send(&other, b"dropped").is_ok());
        wrong.holds("the filter is in force", receive(&unix, 0).is_err());
        wrong.holds("the socket is there", udp.local_addr().is_ok());
    })
}
