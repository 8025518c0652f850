//! A connection that has not been accepted yet and has brought something: nobody can read that before it is accepted,
//! so that it is refused, and nothing is lost.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let listener = UnixListener::bind(stage.path("listener"))?;
    let mut client = UnixStream::connect(stage.path("listener"))?;
    client.write_all(b"early")?;
    stage.ready_and_wait()?;
    let (mut server, _) = listener.accept()?;
    let mut early = [0; 5];
    server.read_exact(&mut early)?;
    stage.wrong.equal("what came early", &early, b"early");
    Ok(())
}
