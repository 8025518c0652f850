//! Options of unix sockets: SO_PEEK_OFF with a place reached, buffer sizes, SO_PASSCRED, time limits, O_NONBLOCK.

use std::os::fd::AsRawFd;

use crate::descriptors::fcntl;
use crate::kernel::{at, call, into};
use crate::sockets::{get, pair, receive, send, set};
use crate::stage::{Held, Stage};

const SOCKET: i32 = libc::SOL_SOCKET;

pub fn hold(stage: &mut Stage) -> Held {
    let (one, other) = pair(libc::SOCK_STREAM)?;
    set(&one, SOCKET, libc::SO_RCVBUF, 30_000)?;
    set(&one, SOCKET, libc::SO_SNDBUF, 40_000)?;
    set(&one, SOCKET, libc::SO_PASSCRED, 1)?;
    set(&other, SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    let limit = [7_i64, 250_000];
    call(
        libc::SYS_setsockopt,
        &[one.as_raw_fd() as usize, SOCKET as usize, libc::SO_RCVTIMEO as usize, at(&limit), 16],
    )?;
    fcntl(&one, libc::F_SETFL, libc::O_NONBLOCK)?;
    set(&other, SOCKET, libc::SO_PEEK_OFF, 0)?;
    send(&one, b"0123456789")?;
    let mut four = [0_u8; 4];
    // SAFETY: the buffer is as long as is said.
    unsafe { libc::recv(other.as_raw_fd(), four.as_mut_ptr().cast(), 4, libc::MSG_PEEK) };
    stage.wrong.equal("the first peek", &four, b"0123");
    stage.keeps(|wrong| {
        wrong.gives("SO_PEEK_OFF", get(&other, SOCKET, libc::SO_PEEK_OFF), 4);
        wrong.gives("SO_PEEK_OFF of the other", get(&one, SOCKET, libc::SO_PEEK_OFF), -1);
        wrong.gives("SO_RCVBUF", get(&one, SOCKET, libc::SO_RCVBUF), 60_000);
        wrong.gives("SO_SNDBUF", get(&one, SOCKET, libc::SO_SNDBUF), 80_000);
        wrong.gives("SO_PASSCRED", get(&one, SOCKET, libc::SO_PASSCRED), 1);
        wrong.gives("SO_PASSCRED of the other", get(&other, SOCKET, libc::SO_PASSCRED), 0);
        wrong.gives("SO_TIMESTAMPNS", get(&other, SOCKET, libc::SO_TIMESTAMPNS), 1);
        let (mut found, mut length) = ([0_i64; 2], 16_u32);
        let arguments = [
            one.as_raw_fd() as usize,
            SOCKET as usize,
            libc::SO_RCVTIMEO as usize,
            into(&mut found),
            into(&mut length),
        ];
        wrong.gives("SO_RCVTIMEO", call(libc::SYS_getsockopt, &arguments).map(|_| found[0]), 7);
        wrong.gives(
            "O_NONBLOCK",
            fcntl(&one, libc::F_GETFL, 0).map(|flags| flags & libc::O_NONBLOCK),
            libc::O_NONBLOCK,
        );
    })?;
    stage.wrong.gives("the next peek goes on", receive(&other, libc::MSG_PEEK), b"456789".to_vec());
    stage.wrong.gives("the data", receive(&other, 0), b"0123456789".to_vec());
    Ok(())
}
