//! TCP connections that lead out of the group, to a process that init has adopted: they are found reset, behind what had
//! come already.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::kernel::{call, exit, fork};
use crate::sockets::receive;
use crate::stage::{Held, Stage};

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
    stage
        .wrong
        .holds("who comes is accepted", TcpStream::connect(("127.0.0.1", port)).is_ok() && listener.accept().is_ok());
    Ok(())
}
