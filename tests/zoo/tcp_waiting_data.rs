//! A TCP connection that nobody has accepted yet, in which something waits: nobody can read it before.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    client.write_all(b"hello")?;
    stage.ready_and_wait()?;
    let (mut server, _) = listener.accept()?;
    let mut hello = [0; 5];
    server.read_exact(&mut hello)?;
    stage.wrong.equal("what it says", &hello, b"hello");
    Ok(())
}
