//! Sockets of MPTCP that listen or do nothing yet, as Go makes them.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use crate::descriptors::owned;
use crate::kernel::call;
use crate::sockets::{bind_to, get, port};
use crate::stage::{Held, Stage, cannot};

/// A socket of MPTCP.
pub fn multipath() -> std::io::Result<std::os::fd::OwnedFd> {
    let arguments = [libc::AF_INET as usize, libc::SOCK_STREAM as usize, libc::IPPROTO_MPTCP as usize];
    Ok(owned(call(libc::SYS_socket, &arguments)?))
}

pub fn hold(stage: &mut Stage) -> Held {
    let Ok(listener) = multipath() else { return cannot("the kernel has no MPTCP") };
    let idle = multipath()?;
    bind_to(&listener, &[127, 0, 0, 1], 0)?;
    call(libc::SYS_listen, &[listener.as_raw_fd() as usize, 5])?;
    let listener = TcpListener::from(listener);
    let own = port(&listener)?;
    stage.keeps(|wrong| {
        wrong.gives("the port", port(&listener), own);
        for socket in [listener.as_raw_fd(), idle.as_raw_fd()] {
            wrong.gives("the protocol", get(&socket, libc::SOL_SOCKET, libc::SO_PROTOCOL), libc::IPPROTO_MPTCP);
        }
        let client = TcpStream::connect(("127.0.0.1", own));
        let (came, accepted) = (client.is_ok(), listener.accept());
        // Whoever closes first keeps the address for a minute: not the listener, which does not share it.
        drop(client);
        wrong.holds("who comes is accepted", came && accepted.is_ok());
    })
}
