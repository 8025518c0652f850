//! Pseudo-terminals of which one end is gone: a master whose slave was closed, a slave whose master was.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::openpty;

use crate::descriptors::{read, write};
use crate::stage::{Held, Stage};

fn events(fd: &OwnedFd) -> PollFlags {
    use std::os::fd::AsFd;
    let mut polled = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    let _ = poll(&mut polled, 0_u8);
    polled[0].revents().unwrap_or(PollFlags::empty())
}

pub fn hold(stage: &mut Stage) -> Held {
    let closed = openpty(None, None)?;
    let name = nix::unistd::ttyname(&closed.slave)?;
    write(&closed.slave, b"last words")?;
    write(&closed.master, b"typed\nhalf")?;
    drop(closed.slave);
    let hung_up = openpty(None, None)?;
    drop(hung_up.master);
    stage.keeps(|wrong| {
        wrong.equal("the slave is closed", events(&closed.master), PollFlags::POLLIN | PollFlags::POLLHUP);
        wrong.holds("the master is closed", events(&hung_up.slave).contains(PollFlags::POLLHUP));
        wrong.gives("nothing comes any more", read(&hung_up.slave, 10), Vec::new());
        let written = write(&hung_up.slave, b"x").map_err(|error| error.raw_os_error());
        wrong.equal("nothing can be written any more", written, Err(Some(Errno::EIO as i32)));
    })?;
    stage.wrong.gives("what was printed last", read(&closed.master, 10), b"last words".to_vec());
    let slave = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(&name)?;
    stage.wrong.gives("what was typed", read(&slave, 100), b"typed\n".to_vec());
    write(&closed.master, b" a line\n")?;
    stage.wrong.gives("what was half typed", read(&slave, 100), b"half a line\n".to_vec());
    Ok(())
}
