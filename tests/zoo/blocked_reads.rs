//! Calls that wait for data or room: read from a pipe, write to a full one, accept, recv, an exclusive lock;
//! readv on a socket that has a time limit (SO_RCVTIMEO).

use std::fs::File;
use std::io::{Read, Write, pipe};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};

use crate::interrupted::{Call, course};
use crate::kernel::{call, into};
use crate::stage::{Held, Stage};

fn read(number: i64, fd: i32) -> Result<i64, String> {
    let mut bytes = [0_u8; 16];
    call(number, &[fd as usize, into(&mut bytes), 16, 0, 0, 0]).map_err(|error| error.to_string())
}

pub fn hold(stage: &mut Stage) -> Held {
    let (reader, mut writer) = pipe()?;
    let (mut drain, full) = pipe()?;
    (&full).write_all(&vec![0; 65_536])?;
    let path = stage.path("socket");
    let listener = UnixListener::bind(&path)?;
    let (one, mut other) = UnixStream::pair()?;
    let (holder, waiter) = (File::create(stage.path("lock"))?, File::open(stage.path("lock"))?);
    holder.lock()?;
    let (giver, timed) = UnixStream::pair()?;
    timed.set_read_timeout(Some(std::time::Duration::from_mins(2)))?;
    let timed_fd = timed.as_raw_fd();
    let fds = [reader.as_raw_fd(), listener.as_raw_fd(), one.as_raw_fd(), waiter.as_raw_fd(), full.as_raw_fd()];
    let text = |error: std::io::Error| error.to_string();
    let calls = vec![
        Call::start("read", libc::SYS_read, None, 5, move || read(libc::SYS_read, fds[0]))?,
        Call::start("accept", libc::SYS_accept4, None, 0, move || {
            call(libc::SYS_accept4, &[fds[1] as usize, 0, 0, 0]).map(|_| 0).map_err(text)
        })?,
        Call::start("recvfrom", libc::SYS_recvfrom, None, 3, move || read(libc::SYS_recvfrom, fds[2]))?,
        Call::start("flock", libc::SYS_flock, None, 0, move || {
            call(libc::SYS_flock, &[fds[3] as usize, libc::LOCK_EX as usize]).map_err(text)
        })?,
        Call::start("write", libc::SYS_write, None, 4, move || {
            call(libc::SYS_write, &[fds[4] as usize, b"more".as_ptr() as usize, 4]).map_err(text)
        })?,
        Call::start("limited readv", libc::SYS_readv, None, 2, move || {
            let mut bytes = [0_u8; 16];
            let part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 16 };
            call(libc::SYS_readv, &[timed_fd as usize, crate::kernel::at(&part), 1]).map_err(text)
        })?,
    ];
    course(stage, calls, || {
        writer.write_all(b"12345")?;
        UnixStream::connect(&path)?;
        other.write_all(b"123")?;
        (&giver).write_all(b"12")?;
        holder.unlock()?;
        Ok(drain.read_exact(&mut vec![0; 65_536])?)
    })
}
