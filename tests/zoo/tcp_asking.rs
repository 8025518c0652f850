//! A TCP socket that asks to be connected where there is no room: it asks on, and is accepted when there is.

use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::kernel::{call, nap};
use crate::sockets::{bind_to, connect_to, inet, poll, port, receive, send};
use crate::stage::{Held, Stage, Trouble};

/// Waits until it is connected, for so long at most.
fn is_connected(socket: &OwnedFd, patience: Duration) -> bool {
    let begin = Instant::now();
    while poll(socket, libc::POLLOUT) != libc::POLLOUT {
        if begin.elapsed() > patience {
            return false;
        }
        nap(Duration::from_millis(5));
    }
    true
}

pub fn hold(stage: &mut Stage) -> Held {
    let listener = inet(libc::AF_INET, libc::SOCK_STREAM)?;
    bind_to(&listener, &[127, 0, 0, 1], 0)?;
    call(libc::SYS_listen, &[listener.as_raw_fd() as usize, 0])?;
    let mut clients = Vec::new();
    let asks = loop {
        let client = inet(libc::AF_INET, libc::SOCK_STREAM)?;
        let _ = connect_to(&client, &[127, 0, 0, 1], port(&listener)?);
        if !is_connected(&client, Duration::from_millis(300)) {
            break client;
        }
        clients.push(client);
        if clients.len() > 9 {
            return Err(Trouble::Failed("there is room for everybody".to_owned()));
        }
    };
    let own = port(&asks)?;
    stage.keeps(|wrong| {
        wrong.equal("it is not connected", poll(&asks, libc::POLLOUT), 0);
        wrong.gives("its port", port(&asks), own);
        let again = connect_to(&asks, &[127, 0, 0, 1], port(&listener).unwrap_or(0));
        wrong.equal("it asks", again.map_err(|error| error.raw_os_error()), Err(Some(libc::EALREADY)));
    })?;
    let listener = TcpListener::from(listener);
    listener.set_nonblocking(false)?;
    for _ in &clients {
        listener.accept()?;
    }
    stage.wrong.holds("it is connected then", is_connected(&asks, Duration::from_secs(20)));
    let (server, from) = listener.accept()?;
    stage.wrong.equal("and accepted", from.port(), own);
    send(&asks, b"at last")?;
    stage.wrong.gives("and heard", receive(&server, 0), b"at last".to_vec());
    Ok(())
}
