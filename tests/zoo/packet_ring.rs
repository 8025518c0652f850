//! A packet socket with a ring of memory, which is refused.

use std::os::fd::AsRawFd;

use crate::descriptors::owned;
use crate::kernel::{at, call};
use crate::sockets::get;
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let socket = owned(call(libc::SYS_socket, &[libc::AF_PACKET as usize, libc::SOCK_RAW as usize, 0])?);
    // `struct tpacket_req`: one block of two frames.
    let ring: [u32; 4] = [4096, 1, 2048, 2];
    let rows = libc::PACKET_RX_RING as usize;
    call(libc::SYS_setsockopt, &[socket.as_raw_fd() as usize, libc::SOL_PACKET as usize, rows, at(&ring), 16])?;
    stage.keeps(|wrong| {
        wrong.gives("the family", get(&socket, libc::SOL_SOCKET, libc::SO_DOMAIN), libc::AF_PACKET);
    })
}
