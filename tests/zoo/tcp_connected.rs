//! TCP connections between two processes, for IPv4, IPv6 and one within the other: what waits in both directions comes, be
//! it more than the receiver takes at once, in its order; then they go on.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::kernel::{call, into};
use crate::sockets::{get, set, waiting};
use crate::stage::{Held, Stage};

const PLACES: [&str; 4] = ["127.0.0.1:0", "[::1]:0", "[::]:0", "127.0.0.1:0"];

/// Bytes that are the same nowhere.
fn stream(seed: u32, length: usize) -> Vec<u8> {
    let next = |word: &u32| Some(word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    std::iter::successors(Some(seed), next).map(|word| (word >> 24) as u8).take(length).collect()
}

/// Sends as much as is taken.
fn send_all_that_fits(socket: &mut TcpStream, seed: u32) -> std::io::Result<usize> {
    let all = stream(seed, 16 << 20);
    let mut sent = 0;
    socket.set_nonblocking(true)?;
    while let Ok(taken) = socket.write(&all[sent..all.len().min(sent + 100_000)]) {
        sent += taken;
    }
    socket.set_nonblocking(false)?;
    Ok(sent)
}

fn expect(stage: &mut Stage, what: &str, socket: &mut TcpStream, expected: &[u8]) -> Held {
    let mut found = vec![0; expected.len()];
    socket.read_exact(&mut found)?;
    let same = found.iter().zip(expected).take_while(|(one, other)| one == other).count();
    stage.wrong.equal(what, same, expected.len());
    Ok(())
}

/// The process that connects: it has sent before the freeze, and hears and sends after it.
fn client(stage: &mut Stage, ports: &[u16]) -> Held {
    let mut clients = Vec::new();
    for (place, port) in ports.iter().enumerate() {
        let host = if place == 1 { "::1" } else { "127.0.0.1" };
        let mut client = TcpStream::connect((host, *port))?;
        client.set_nodelay(true)?;
        client.write_all(b"from the client")?;
        clients.push(client);
    }
    let much = send_all_that_fits(&mut clients[3], 7)?;
    std::fs::write(stage.path("much"), much.to_string())?;
    stage.ready_and_wait()?;
    for client in &mut clients {
        expect(stage, "the server's greeting", client, b"from the server, and go on")?;
        client.write_all(b"more from the client")?;
    }
    Ok(())
}

fn room(socket: &TcpStream) -> i32 {
    let mut count = 0_i32;
    let asked = [std::os::fd::AsRawFd::as_raw_fd(socket) as usize, libc::TIOCOUTQ as usize, into(&mut count)];
    call(libc::SYS_ioctl, &asked).map_or(-1, |_| count)
}

pub fn hold(stage: &mut Stage) -> Held {
    let listeners: Vec<TcpListener> = PLACES.iter().map(TcpListener::bind).collect::<Result<_, _>>()?;
    let ports: Vec<u16> =
        listeners.iter().map(|one| one.local_addr().map(|own| own.port())).collect::<Result<_, _>>()?;
    let child = stage.child(|stage| client(stage, &ports))?;
    let mut servers = Vec::new();
    for listener in &listeners {
        let (mut server, _) = listener.accept()?;
        server.write_all(b"from the server")?;
        set(&server, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
        servers.push(server);
    }
    // Two of them have nobody left who listens, and ports that are nobody's then.
    let listeners: Vec<TcpListener> = listeners.into_iter().take(2).collect();
    let ends: Vec<_> = servers.iter().map(|server| (server.local_addr().ok(), server.peer_addr().ok())).collect();
    let much: usize = std::fs::read_to_string(stage.path("much"))?.parse()?;
    let there = waiting(&servers[3])?;
    stage.wrong.holds("more is on its way than was received", there < much && there > 0);
    stage.keeps(|wrong| {
        let now: Vec<_> = servers.iter().map(|server| (server.local_addr().ok(), server.peer_addr().ok())).collect();
        wrong.equal("the addresses", &now, &ends);
        for server in &servers[..3] {
            wrong.gives("how much waits", waiting(server), 15);
            wrong.equal("how much is on its way", room(server), 0);
            wrong.gives("SO_KEEPALIVE", get(server, libc::SOL_SOCKET, libc::SO_KEEPALIVE), 1);
        }
        // More may come, as far as there is room.
        wrong.holds("how much of much waits", waiting(&servers[3]).is_ok_and(|now| now >= there));
    })?;
    for server in &mut servers {
        server.write_all(b", and go on")?;
    }
    stage.wrong.holds("both listen", listeners.iter().all(|one| one.local_addr().is_ok()));
    for (place, server) in servers.iter_mut().enumerate() {
        expect(stage, "what was sent before", server, b"from the client")?;
        if place == 3 {
            expect(stage, "the much that was sent before", server, &stream(7, much))?;
        }
        expect(stage, "what was sent after", server, b"more from the client")?;
        stage.wrong.equal("the end", server.read(&mut [0; 9])?, 0);
    }
    stage.join(child);
    Ok(())
}
