//! Unix sockets with names: a listener, a client and a server in two processes, an abstract name, a datagram socket.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};

use crate::sockets::{get, receive};
use crate::stage::{Held, Stage};

/// The process that connects: it has sent before the freeze, and hears and sends after it.
fn client(stage: &mut Stage) -> Held {
    let mut client = UnixStream::connect(stage.path("stream"))?;
    client.write_all(b"from the client")?;
    let sender = UnixDatagram::unbound()?;
    sender.connect(stage.path("datagrams"))?;
    sender.send(b"a datagram")?;
    stage.ready_and_wait()?;
    let mut answer = [0; 15];
    client.read_exact(&mut answer)?;
    stage.wrong.equal("the server's answer", &answer, b"from the server");
    let peer = client.peer_addr()?;
    stage.wrong.equal("the peer's name", peer.as_pathname().map(std::path::Path::to_owned), Some(stage.path("stream")));
    sender.send(b"another")?;
    Ok(())
}

pub fn hold(stage: &mut Stage) -> Held {
    let path = stage.path("stream");
    let listener = UnixListener::bind(&path)?;
    let abstract_name = format!("dormouse zoo {}", std::process::id());
    let address = SocketAddr::from_abstract_name(abstract_name.as_bytes())?;
    let other_listener = UnixListener::bind_addr(&address)?;
    let datagrams = UnixDatagram::bind(stage.path("datagrams"))?;
    let child = stage.child(client)?;
    let (mut server, _) = listener.accept()?;
    stage.keeps(|wrong| {
        wrong.gives("a look at the queue", receive(&server, libc::MSG_PEEK), b"from the client".to_vec());
        wrong.gives("it listens", get(&listener, libc::SOL_SOCKET, libc::SO_ACCEPTCONN), 1);
        let name = listener.local_addr().ok().and_then(|name| name.as_pathname().map(std::path::Path::to_owned));
        wrong.equal("the listener's name", name, Some(path.clone()));
        let name = other_listener.local_addr().ok().and_then(|name| name.as_abstract_name().map(<[u8]>::to_vec));
        wrong.equal("the abstract name", name, Some(abstract_name.clone().into_bytes()));
        wrong.gives("a look at the datagrams", receive(&datagrams, libc::MSG_PEEK), b"a datagram".to_vec());
        let mut peer = [0_u32; 3];
        let mut length = 12_u32;
        let asked = crate::kernel::call(
            libc::SYS_getsockopt,
            &[
                server.as_raw_fd() as usize,
                libc::SOL_SOCKET as usize,
                libc::SO_PEERCRED as usize,
                crate::kernel::into(&mut peer),
                crate::kernel::into(&mut length),
            ],
        );
        wrong.gives("the client's pid", asked.map(|_| peer[0]), child.pid as u32);
    })?;
    server.write_all(b"from the server")?;
    stage.join(child);
    let mut all = Vec::new();
    server.read_to_end(&mut all)?;
    stage.wrong.equal("all from the client", all.as_slice(), b"from the client".as_slice());
    for expected in [b"a datagram".as_slice(), b"another"] {
        stage.wrong.gives("datagrams", receive(&datagrams, 0), expected.to_vec());
    }
    for (name, made) in
        [("by path", UnixStream::connect(&path)), ("by abstract name", UnixStream::connect_addr(&address))]
    {
        stage.wrong.holds(name, made.is_ok());
    }
    stage.wrong.holds("who comes is accepted", listener.accept().is_ok() && other_listener.accept().is_ok());
    Ok(())
}
