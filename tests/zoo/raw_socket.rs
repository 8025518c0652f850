//! A raw socket: its protocol, its filter of messages, its peer.

use std::os::fd::AsRawFd;

use crate::descriptors::owned;
use crate::kernel::{at, call, into};
use crate::sockets::{connect_to, get, set};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    const RAW: usize = 255;
    let kind = (libc::SOCK_RAW | libc::SOCK_NONBLOCK) as usize;
    let socket = owned(call(libc::SYS_socket, &[libc::AF_INET as usize, kind, libc::IPPROTO_ICMP as usize])?);
    // ICMP_FILTER: everything but answers to an echo.
    let filter = !1_u32;
    call(libc::SYS_setsockopt, &[socket.as_raw_fd() as usize, RAW, 1, at(&filter), 4])?;
    set(&socket, libc::IPPROTO_IP, libc::IP_TTL, 5)?;
    // Every such socket hears what comes from its peer: this one has an address of its own.
    let [.., high, middle, low] = std::process::id().to_be_bytes();
    connect_to(&socket, &[127, high, middle, low.max(1)], 0)?;
    stage.keeps(|wrong| {
        let (mut found, mut length) = (0_u32, 4_u32);
        let asked =
            call(libc::SYS_getsockopt, &[socket.as_raw_fd() as usize, RAW, 1, into(&mut found), into(&mut length)]);
        wrong.gives("the filter", asked.map(|_| found), filter);
        wrong.gives("the protocol", get(&socket, libc::SOL_SOCKET, libc::SO_PROTOCOL), libc::IPPROTO_ICMP);
        wrong.gives("IP_TTL", get(&socket, libc::IPPROTO_IP, libc::IP_TTL), 5);
    })?;
    // Type 8, code 0, and what makes the sum right.
    let echo: [u8; 8] = [8, 0, 0xf7, 0xff, 0, 0, 0, 0];
    call(libc::SYS_sendto, &[socket.as_raw_fd() as usize, at(&echo), 8, 0, 0, 0])?;
    let answer = crate::sockets::receive(&socket, 0);
    stage.wrong.gives("the answer to an echo", answer.map(|bytes| bytes.get(20).copied()), Some(0));
    Ok(())
}
