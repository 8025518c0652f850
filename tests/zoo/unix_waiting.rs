//! A listening unix socket with connections that it has not accepted yet: they come in their order, and no more fit.

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

use crate::kernel::call;
use crate::sockets::{bind, connect, name, peer_pid, receive, socket};
use crate::stage::{Held, Stage};

/// Connects from names of its own, so that the order can be told, and says hello once it may.
fn clients(stage: &mut Stage) -> Held {
    let path = stage.path("listener");
    let mut clients = Vec::new();
    for number in 0..3 {
        let client = socket(libc::SOCK_STREAM)?;
        bind(&client, format!("\0dormouse {} {number}", std::process::id()).as_bytes())?;
        connect(&client, path.to_string_lossy().as_bytes())?;
        let client = UnixStream::from(client);
        client.set_nonblocking(false)?;
        clients.push(client);
    }
    stage.ready_and_wait()?;
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(format!("hello from {number}").as_bytes())?;
        let mut answer = [0; 2];
        client.read_exact(&mut answer)?;
        stage.wrong.equal("the answer", &answer, b"ok");
    }
    Ok(())
}

pub fn hold(stage: &mut Stage) -> Held {
    let path = stage.path("listener");
    let listener = socket(libc::SOCK_STREAM)?;
    bind(&listener, path.to_string_lossy().as_bytes())?;
    call(libc::SYS_listen, &[std::os::fd::AsRawFd::as_raw_fd(&listener) as usize, 2])?;
    let packets = socket(libc::SOCK_SEQPACKET)?;
    let packet_name = format!("dormouse packets {}", std::process::id());
    bind(&packets, format!("\0{packet_name}").as_bytes())?;
    call(libc::SYS_listen, &[std::os::fd::AsRawFd::as_raw_fd(&packets) as usize, 5])?;
    let waiting = socket(libc::SOCK_SEQPACKET)?;
    connect(&waiting, format!("\0{packet_name}").as_bytes())?;
    let child = stage.child(clients)?;
    let path_bytes = path.to_string_lossy().into_owned();
    stage.keeps(|wrong| {
        let fourth = socket(libc::SOCK_STREAM).and_then(|socket| connect(&socket, path_bytes.as_bytes()));
        wrong.equal("a fourth has to wait", fourth.map_err(|error| error.kind()), Err(std::io::ErrorKind::WouldBlock));
        wrong.equal(
            "whom the waiting one is connected to",
            name(&waiting, true),
            format!("\0{packet_name}").into_bytes(),
        );
    })?;
    let listener = std::os::unix::net::UnixListener::from(listener);
    for number in 0..3 {
        let (mut server, address) = listener.accept()?;
        let expected = SocketAddr::from_abstract_name(format!("dormouse {} {number}", child.pid))?;
        stage.wrong.equal("whose turn it is", format!("{address:?}"), format!("{expected:?}"));
        stage.wrong.gives("who has connected", peer_pid(&server), child.pid);
        let mut hello = [0; 12];
        server.read_exact(&mut hello)?;
        stage.wrong.equal("what it says", hello.as_slice(), format!("hello from {number}").as_bytes());
        server.write_all(b"ok")?;
    }
    let accepted = crate::descriptors::owned(call(
        libc::SYS_accept4,
        &[std::os::fd::AsRawFd::as_raw_fd(&packets) as usize, 0, 0, 0],
    )?);
    crate::sockets::send(&waiting, b"one")?;
    stage.wrong.gives("a packet", receive(&accepted, 0), b"one".to_vec());
    stage.join(child);
    Ok(())
}
