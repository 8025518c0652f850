//! Calls that wait for a terminal: for a line, for what is printed, for room, alone or among others.

use std::io::Error;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::pty::openpty;

use crate::descriptors::{fcntl, read, would_wait, write};
use crate::interrupted::{Call, course};
use crate::kernel::{call, into, nap};
use crate::stage::{Held, Stage};

fn read_from(fd: i32) -> Result<i64, String> {
    let mut bytes = [0_u8; 16];
    call(libc::SYS_read, &[fd as usize, into(&mut bytes), 16]).map_err(|error| error.to_string())
}

fn poll(fd: i32) -> Result<i64, String> {
    let mut polled = [libc::pollfd { fd, events: libc::POLLIN, revents: 0 }];
    call(libc::SYS_poll, &[into(&mut polled), 1, usize::MAX]).map_err(|error| error.to_string())
}

fn select(fd: i32) -> Result<i64, String> {
    let mut set = [0_u64; 16];
    set[fd as usize / 64] |= 1 << (fd % 64);
    let arguments = [fd as usize + 1, into(&mut set), 0, 0, 0, 0];
    call(libc::SYS_pselect6, &arguments).map_err(|error| error.to_string())
}

pub fn hold(stage: &mut Stage) -> Held {
    let [lines, shown, polled, selected, full] =
        [openpty(None, None)?, openpty(None, None)?, openpty(None, None)?, openpty(None, None)?, openpty(None, None)?];
    fcntl(&full.slave, libc::F_SETFL, libc::O_RDWR | libc::O_NONBLOCK)?;
    let (mut printed, mut refusals) = (0, 0);
    // The kernel makes room in a worker of its own: only what is refused again and again is full.
    while refusals < 5 {
        match write(&full.slave, &[b'x'; 64]) {
            Ok(count) => (printed, refusals) = (printed + count as usize, 0),
            refused if would_wait(&refused) => {
                refusals += 1;
                nap(Duration::from_millis(50));
            }
            refused => drop(refused?),
        }
    }
    fcntl(&full.slave, libc::F_SETFL, libc::O_RDWR)?;
    let fds = [&lines.slave, &shown.master, &polled.slave, &selected.master, &full.slave].map(AsRawFd::as_raw_fd);
    let text = |error: Error| error.to_string();
    let calls = vec![
        Call::start("read a line", libc::SYS_read, None, 5, move || read_from(fds[0]))?,
        Call::start("read the master", libc::SYS_read, None, 7, move || read_from(fds[1]))?,
        Call::start("poll", libc::SYS_poll, None, 1, move || poll(fds[2]))?,
        Call::start("pselect", libc::SYS_pselect6, None, 1, move || select(fds[3]))?,
        Call::start("write", libc::SYS_write, None, 64, move || {
            call(libc::SYS_write, &[fds[4] as usize, [b'y'; 64].as_ptr() as usize, 64]).map_err(text)
        })?,
    ];
    course(stage, calls, || {
        write(&lines.master, b"four\n")?;
        write(&shown.slave, b"printed")?;
        write(&polled.master, b"\n")?;
        write(&selected.slave, b"x")?;
        let mut taken = 0;
        while taken < printed + 64 {
            taken += read(&full.master, 4096)?.len();
        }
        Ok(())
    })
}
