//! Unix sockets whose peer is closed, with what it has sent before; with an error that waits because it had not read all;
//! by way of a listening socket that is closed too; halves that are shut on either side.

use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use crate::kernel::call;
use crate::sockets::{bind, connect, get, name, pair, receive, send, socket};
use crate::stage::{Held, Stage};

fn shut(socket: &OwnedFd, how: i32) -> std::io::Result<i64> {
    call(libc::SYS_shutdown, &[socket.as_raw_fd() as usize, how as usize])
}

/// Ends of connections by way of a listening socket at this path, which is closed, as are the other ends.
fn by_listener(path: &std::path::Path) -> std::io::Result<(UnixStream, UnixStream)> {
    let listener = UnixListener::bind(path)?;
    let client = UnixStream::connect(path)?;
    let (server, _) = listener.accept()?;
    send(&server, b"from the server")?;
    drop(server);
    let other_client = UnixStream::connect(path)?;
    let (other_server, _) = listener.accept()?;
    send(&other_client, b"from the client")?;
    Ok((client, other_server))
}

pub fn hold(stage: &mut Stage) -> Held {
    let (left, closed) = pair(libc::SOCK_STREAM)?;
    send(&closed, b"its last")?;
    send(&left, b"it never reads this")?;
    drop(closed);
    let (packets, closed) = pair(libc::SOCK_SEQPACKET)?;
    send(&closed, b"one")?;
    send(&closed, b"")?;
    send(&closed, b"two")?;
    drop(closed);
    let (datagrams, closed) = pair(libc::SOCK_DGRAM)?;
    send(&closed, b"a datagram")?;
    drop(closed);
    let path = stage.path("listener");
    let (client, other_server) = by_listener(&path)?;
    let reader = stage.path("reader");
    let gone = UnixDatagram::bind(&reader)?;
    let writer = socket(libc::SOCK_DGRAM)?;
    bind(&writer, stage.path("writer").to_string_lossy().as_bytes())?;
    connect(&writer, reader.to_string_lossy().as_bytes())?;
    drop(gone);
    let (deaf, speaker) = pair(libc::SOCK_STREAM)?;
    send(&speaker, b"heard")?;
    shut(&deaf, libc::SHUT_RD)?;
    let (both, ends) = pair(libc::SOCK_STREAM)?;
    shut(&both, libc::SHUT_RDWR)?;
    let path = path.to_string_lossy().into_owned().into_bytes();
    stage.keeps(|wrong| {
        wrong.equal("the client's peer", name(&client, true), path.clone());
        wrong.equal("the server's name", name(&other_server, false), path.clone());
        wrong.equal("a datagram socket's peer", name(&writer, true), reader.to_string_lossy().as_bytes().to_vec());
        let broken = send(&speaker, b"x").map_err(|error| error.kind());
        wrong.equal("nobody hears", broken, Err(ErrorKind::BrokenPipe));
        let broken = send(&ends, b"x").map_err(|error| error.kind());
        wrong.equal("both halves are shut", broken, Err(ErrorKind::BrokenPipe));
    })?;
    stage.wrong.gives("the error", get(&left, libc::SOL_SOCKET, libc::SO_ERROR), libc::ECONNRESET);
    stage.wrong.gives("its last", receive(&left, 0), b"its last".to_vec());
    stage.wrong.gives("its end", receive(&left, 0), Vec::new());
    for expected in [b"one".as_slice(), b"", b"two", b""] {
        stage.wrong.gives("a packet", receive(&packets, 0), expected.to_vec());
    }
    stage.wrong.gives("a datagram", receive(&datagrams, 0), b"a datagram".to_vec());
    let refused = send(&datagrams, b"x").map_err(|error| error.kind());
    stage.wrong.equal("nobody takes datagrams", refused, Err(ErrorKind::ConnectionRefused));
    let refused = send(&writer, b"x").map_err(|error| error.kind());
    stage.wrong.equal("nobody takes them there either", refused, Err(ErrorKind::ConnectionRefused));
    stage.wrong.gives("from the server", receive(&client, 0), b"from the server".to_vec());
    stage.wrong.gives("the server's end", receive(&client, 0), Vec::new());
    stage.wrong.gives("from the client", receive(&other_server, 0), b"from the client".to_vec());
    stage.wrong.gives("what was heard before", receive(&deaf, 0), b"heard".to_vec());
    stage.wrong.gives("the deaf one's end", receive(&deaf, 0), Vec::new());
    stage.wrong.gives("the deaf one speaks", send(&deaf, b"hello"), 5);
    stage.wrong.gives("and is heard", receive(&speaker, 0), b"hello".to_vec());
    stage.wrong.gives("the end of both", receive(&both, 0), Vec::new());
    Ok(())
}
