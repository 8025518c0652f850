//! TCP connections that nobody has accepted yet: they come in their order, with whoever has connected them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::stage::{Held, Stage};

fn clients(stage: &mut Stage, to: SocketAddr) -> Held {
    let mut clients = Vec::new();
    let mut names = Vec::new();
    for _ in 0..3 {
        let client = TcpStream::connect(to)?;
        names.push(client.local_addr()?.to_string());
        clients.push(client);
        // The kernel tells the order in milliseconds.
        std::thread::sleep(Duration::from_millis(20));
    }
    clients[2].shutdown(Shutdown::Write)?;
    std::fs::write(stage.path("names"), names.join(" "))?;
    stage.ready_and_wait()?;
    for (number, client) in clients.iter_mut().enumerate() {
        if number < 2 {
            client.write_all(b"hello")?;
        }
        let mut answer = [0; 2];
        client.read_exact(&mut answer)?;
        stage.wrong.equal("the answer", &answer, b"ok");
    }
    Ok(())
}

pub fn hold(stage: &mut Stage) -> Held {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let own = listener.local_addr()?;
    let child = stage.child(|stage| clients(stage, own))?;
    let names = std::fs::read_to_string(stage.path("names"))?;
    stage.keeps(|wrong| wrong.equal("the address", listener.local_addr().ok(), Some(own)))?;
    let mut found = Vec::new();
    for number in 0..3 {
        let (mut server, address) = listener.accept()?;
        found.push(address.to_string());
        if number < 2 {
            let mut hello = [0; 5];
            server.read_exact(&mut hello)?;
            stage.wrong.equal("what it says", &hello, b"hello");
        } else {
            stage.wrong.equal("it has nothing to say", server.read(&mut [0; 5])?, 0);
        }
        server.write_all(b"ok")?;
    }
    stage.wrong.equal("whose turn it is", found.join(" "), names);
    stage.join(child);
    Ok(())
}
