//! A netlink socket in which an answer of the kernel waits: it is lost, and that is told.

use std::os::fd::AsRawFd;

use crate::kernel::{at, call};
use crate::netlink::netlink;
use crate::sockets::{poll, receive};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let socket = netlink(libc::NETLINK_ROUTE, 0)?;
    let request: [u32; 8] = [32, 0x12 | 1 << 16, 5, 0, 0, 1, 0, 0];
    let ask = || call(libc::SYS_sendto, &[socket.as_raw_fd() as usize, at(&request), 32, 0, 0, 0]);
    ask()?;
    stage.wrong.equal("an answer waits", poll(&socket, libc::POLLIN), libc::POLLIN);
    stage.ready_and_wait()?;
    let first = receive(&socket, 0).map(|bytes| bytes.get(4).copied()).map_err(|error| error.raw_os_error());
    stage.wrong.holds("it is there or lost", first == Ok(Some(16)) || first == Err(Some(libc::EAGAIN)));
    ask()?;
    stage.wrong.gives("the next answer", receive(&socket, 0).map(|bytes| bytes.get(4).copied()), Some(16));
    Ok(())
}
