//! TCP connections of which one side has finished, or is deaf, or has been closed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use crate::sockets::{poll, receive, send, waiting};
use crate::stage::{Held, Stage};

fn pair(listener: &TcpListener) -> std::io::Result<(TcpStream, TcpStream)> {
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((client, listener.accept()?.0))
}

pub fn hold(stage: &mut Stage) -> Held {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (mut finished, mut hears_the_end) = pair(&listener)?;
    finished.write_all(b"the last words")?;
    finished.shutdown(Shutdown::Write)?;
    hears_the_end.write_all(b"an answer")?;
    let (deaf, talks_to_the_deaf) = pair(&listener)?;
    deaf.shutdown(Shutdown::Read)?;
    let (mut closed, left) = pair(&listener)?;
    closed.write_all(b"before it was closed")?;
    drop(closed);
    let (both, ways) = pair(&listener)?;
    both.shutdown(Shutdown::Write)?;
    ways.shutdown(Shutdown::Write)?;
    let (reset, told) = pair(&listener)?;
    // What nobody has read makes a reset of the close.
    send(&told, b"unread")?;
    waiting(&reset)?;
    drop(reset);
    let end = libc::POLLIN | libc::POLLRDHUP;
    stage.keeps(|wrong| {
        wrong.equal("one that has finished", poll(&finished, end), libc::POLLIN);
        let sent = send(&finished, b"x").map_err(|error| error.raw_os_error());
        wrong.equal("it can send no more", sent, Err(Some(libc::EPIPE)));
        wrong.equal("the other hears the end", poll(&hears_the_end, end), end);
        wrong.gives("what came before it", receive(&hears_the_end, libc::MSG_PEEK), b"the last words".to_vec());
        wrong.equal("the deaf one", poll(&deaf, end), end);
        wrong.equal("who talks to it", poll(&talks_to_the_deaf, end | libc::POLLOUT), libc::POLLOUT);
        wrong.equal("one whose peer was closed", poll(&left, end), end);
        wrong.gives("what it had sent", receive(&left, libc::MSG_PEEK), b"before it was closed".to_vec());
        wrong.holds("one that was reset", poll(&told, libc::POLLIN) & libc::POLLERR != 0);
        wrong.holds("both have finished", poll(&ways, end | libc::POLLOUT) & libc::POLLHUP != 0);
    })?;
    let mut heard = Vec::new();
    hears_the_end.read_to_end(&mut heard)?;
    stage.wrong.equal("all that was said", heard.as_slice(), b"the last words".as_slice());
    hears_the_end.write_all(b", and more")?;
    drop(hears_the_end);
    heard.clear();
    finished.read_to_end(&mut heard)?;
    stage.wrong.equal("all that was answered", heard.as_slice(), b"an answer, and more".as_slice());
    send(&talks_to_the_deaf, b"louder")?;
    stage.wrong.gives("all of the closed one", receive(&left, 0), b"before it was closed".to_vec());
    stage.wrong.gives("the end of it", receive(&left, 0), Vec::new());
    let error = receive(&told, 0).map_err(|error| error.raw_os_error());
    stage.wrong.equal("the error", error, Err(Some(libc::ECONNRESET)));
    Ok(())
}
