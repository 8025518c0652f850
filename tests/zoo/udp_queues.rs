//! Datagrams that wait in UDP sockets: they come in their order, with their borders, from where they were sent; in sockets
//! that share an address too.

use std::net::UdpSocket;
use std::os::fd::OwnedFd;

use crate::sockets::{bind_to, connect_to, inet, inet_address, port, receive, receive_datagram, set};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let receiver = UdpSocket::bind("127.0.0.1:0")?;
    let (one, other) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("0.0.0.0:0")?);
    let to = receiver.local_addr()?;
    let large = vec![b'L'; 60_000];
    one.send_to(b"one", to)?;
    other.send_to(&large, to)?;
    one.send_to(b"", to)?;
    one.send_to(b"three", to)?;
    let six = UdpSocket::bind("[::]:0")?;
    one.send_to(b"from four to six", ("127.0.0.1", six.local_addr()?.port()))?;
    // One of two that share an address is connected, and gets what its peer sends.
    let shared: Vec<OwnedFd> = (0..2).map(|_| inet(libc::AF_INET, libc::SOCK_DGRAM)).collect::<Result<_, _>>()?;
    for socket in &shared {
        set(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    }
    bind_to(&shared[0], &[127, 0, 0, 1], 0)?;
    bind_to(&shared[1], &[127, 0, 0, 1], port(&shared[0])?)?;
    connect_to(&shared[0], &[127, 0, 0, 1], one.local_addr()?.port())?;
    one.send_to(b"for the connected one", ("127.0.0.1", port(&shared[0])?))?;
    // What a closed socket has sent waits on.
    let gone = UdpSocket::bind("127.0.0.1:0")?;
    let gone_port = gone.local_addr()?.port();
    gone.send_to(b"from nobody", to)?;
    drop(gone);
    stage.keeps(|wrong| {
        wrong.gives("the first", receive(&receiver, libc::MSG_PEEK), b"one".to_vec());
    })?;
    let ports = [one.local_addr()?.port(), other.local_addr()?.port()];
    let expected = [(b"one".to_vec(), 0), (large, 1), (Vec::new(), 0), (b"three".to_vec(), 0)];
    for (bytes, from) in expected {
        let found = receive_datagram(&receiver).map(|(found, from)| (found == bytes, from));
        stage.wrong.gives("a datagram", found, (true, inet_address(&[127, 0, 0, 1], ports[from])));
    }
    let found = receive_datagram(&receiver);
    stage.wrong.gives("from nobody", found, (b"from nobody".to_vec(), inet_address(&[127, 0, 0, 1], gone_port)));
    let more = receive(&receiver, 0).map_err(|error| error.raw_os_error());
    stage.wrong.equal("no more", more, Err(Some(libc::EAGAIN)));
    stage.wrong.gives("from four", receive(&six, 0), b"from four to six".to_vec());
    stage.wrong.gives("the connected one", receive(&shared[0], 0), b"for the connected one".to_vec());
    let beside = receive(&shared[1], 0).map_err(|error| error.raw_os_error());
    stage.wrong.equal("the one beside it", beside, Err(Some(libc::EAGAIN)));
    one.send_to(b"after", to)?;
    stage.wrong.gives("what comes after", receive(&receiver, 0), b"after".to_vec());
    Ok(())
}
