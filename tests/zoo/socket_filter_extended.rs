//! A filter of a socket that is an eBPF program, SO_ATTACH_BPF: the kernel does not show it, and the engine must say so.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use crate::bpf_program;
use crate::sockets::{pair, receive, send, set};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    const SO_ATTACH_BPF: i32 = 50;
    let program = match bpf_program::load() {
        Ok(program) => program,
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
