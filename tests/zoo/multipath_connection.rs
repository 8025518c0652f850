//! A connection of MPTCP, which is refused.

use std::net::TcpListener;
use std::os::fd::AsRawFd;

use crate::kernel::call;
use crate::multipath::multipath;
use crate::sockets::{bind_to, connect_to, port};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    let Ok(listener) = multipath() else { return cannot("the kernel has no MPTCP") };
    bind_to(&listener, &[127, 0, 0, 1], 0)?;
    call(libc::SYS_listen, &[listener.as_raw_fd() as usize, 5])?;
    let client = multipath()?;
    connect_to(&client, &[127, 0, 0, 1], port(&listener)?)?;
    let (server, _) = TcpListener::from(listener).accept()?;
    stage.keeps(|wrong| wrong.holds("it is connected", server.peer_addr().is_ok() && port(&client).is_ok()))
}
