//! TCP connections that lead out of the group, to a process that init has adopted: they are found reset, behind what had
//! come already; and who asks to be connected, asks again.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use crate::kernel::{call, exit, fork};
use crate::sockets::{inet, inet_address, receive};
use crate::stage::{Held, Stage, Trouble};

/// Connects from outside, twice, and stays until the connections end.
fn outsider(stage: &Stage, port: u16) -> Held {
    let mut first = TcpStream::connect(("127.0.0.1", port))?;
    let mut second = TcpStream::connect(("127.0.0.1", port))?;
    first.write_all(b"from outside")?;
    std::fs::write(stage.path("outside"), "")?;
    let ended = [first.read(&mut [0; 9]), second.read(&mut [0; 9])];
    std::fs::write(stage.path("ended"), format!("{ended:?}"))?;
    Ok(())
}

pub fn hold(stage: &mut Stage) -> Held {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let between = fork()?;
    if between == 0 {
        if fork().is_ok_and(|pid| pid == 0) {
            // A session of its own, none of our descriptors: it is not part of the group.
            let _ = call(libc::SYS_setsid, &[]);
            let _ = call(libc::SYS_close_range, &[3, u32::MAX as usize, 0]);
            let held = outsider(stage, port);
            exit(i32::from(held.is_err()));
        }
        exit(0);
    }
    crate::kernel::wait_for(between)?;
    let (first, _) = listener.accept()?;
    let (mut second, _) = listener.accept()?;
    while !stage.path("outside").exists() {
        crate::kernel::nap(std::time::Duration::from_millis(5));
    }
    // One that nobody answers: the address is one for documentation, RFC 5737.
    let asks: OwnedFd = inet(libc::AF_INET, libc::SOCK_STREAM)?;
    let to = inet_address(&[198, 51, 100, 1], 9);
    let asked = call(libc::SYS_connect, &[asks.as_raw_fd() as usize, crate::kernel::at(to.as_slice()), to.len()]);
    let asked = asked.map_err(|error| error.raw_os_error());
    if asked != Err(Some(libc::EINPROGRESS)) {
        return Err(Trouble::CannotBeHeldHere(format!("there is no network that drops packets: {asked:?}")));
    }
    stage.ready_and_wait()?;
    stage.wrong.gives("what had come", receive(&first, 0), b"from outside".to_vec());
    let error = receive(&first, 0).map_err(|error| error.raw_os_error());
    if stage.path("ended").exists() {
        stage.wrong.equal("behind it", error, Err(Some(libc::ECONNRESET)));
        let error = second.read(&mut [0; 9]).map_err(|error| error.raw_os_error());
        stage.wrong.equal("the other", error, Err(Some(libc::ECONNRESET)));
        stage.wrong.equal("the end", second.read(&mut [0; 9])?, 0);
    } else {
        stage.wrong.equal("behind it", error, Err(Some(libc::EAGAIN)));
    }
    let again = call(libc::SYS_connect, &[asks.as_raw_fd() as usize, crate::kernel::at(to.as_slice()), to.len()]);
    stage.wrong.equal("it asks", again.map_err(|error| error.raw_os_error()), Err(Some(libc::EALREADY)));
    stage
        .wrong
        .holds("who comes is accepted", TcpStream::connect(("127.0.0.1", port)).is_ok() && listener.accept().is_ok());
    Ok(())
}
