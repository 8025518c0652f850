//! Pairs of unix sockets, of all three types, with data queued both ways, a half that is shut, and one whose peer is gone.

use crate::sockets::{pair, receive, send};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let stream = pair(libc::SOCK_STREAM)?;
    let datagrams = pair(libc::SOCK_DGRAM)?;
    let packets = pair(libc::SOCK_SEQPACKET)?;
    let large = vec![b'L'; 50_000];
    for sockets in [&stream, &datagrams, &packets] {
        send(&sockets.0, b"first ")?;
        send(&sockets.0, b"second")?;
        send(&sockets.1, &large)?;
    }
    send(&datagrams.0, b"")?;
    let shut = pair(libc::SOCK_STREAM)?;
    send(&shut.0, b"last words")?;
    crate::kernel::call(
        libc::SYS_shutdown,
        &[std::os::fd::AsRawFd::as_raw_fd(&shut.0) as usize, libc::SHUT_WR as usize],
    )?;
    let (left, gone) = pair(libc::SOCK_STREAM)?;
    send(&gone, b"goodbye")?;
    drop(gone);
    stage.keeps(|wrong| {
        wrong.gives("a look at the stream", receive(&stream.1, libc::MSG_PEEK), b"first second".to_vec());
        wrong.gives("a look at the datagrams", receive(&datagrams.1, libc::MSG_PEEK), b"first ".to_vec());
        wrong.gives("a look at the packets", receive(&packets.1, libc::MSG_PEEK), b"first ".to_vec());
        let broken = send(&shut.0, b"x").map_err(|error| error.kind());
        wrong.equal("a half that is shut", broken, Err(std::io::ErrorKind::BrokenPipe));
    })?;
    stage.wrong.gives("stream", receive(&stream.1, 0), b"first second".to_vec());
    for (name, sockets) in [("datagrams", &datagrams), ("packets", &packets)] {
        stage.wrong.gives(name, receive(&sockets.1, 0), b"first ".to_vec());
        stage.wrong.gives(name, receive(&sockets.1, 0), b"second".to_vec());
    }
    stage.wrong.gives("an empty datagram", receive(&datagrams.1, 0), Vec::new());
    for (name, sockets) in [("stream", &stream), ("datagrams", &datagrams), ("packets", &packets)] {
        stage.wrong.gives(name, receive(&sockets.0, 0).map(|bytes| bytes == large), true);
        stage.wrong.gives(name, send(&sockets.0, b"more"), 4);
        stage.wrong.gives(name, receive(&sockets.1, 0), b"more".to_vec());
    }
    stage.wrong.gives("before the end", receive(&shut.1, 0), b"last words".to_vec());
    stage.wrong.gives("the end", receive(&shut.1, 0), Vec::new());
    stage.wrong.gives("the other half", send(&shut.1, b"answer"), 6);
    stage.wrong.gives("the other half's answer", receive(&shut.0, 0), b"answer".to_vec());
    stage.wrong.gives("of the one that is gone", receive(&left, 0), b"goodbye".to_vec());
    stage.wrong.gives("the end of the one that is gone", receive(&left, 0), Vec::new());
    Ok(())
}
