//! A pseudo-terminal held at both ends: its modes, size, what was typed and not read, what was printed and not shown.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, tcgetattr, tcsetattr};

use crate::descriptors::{read, write};
use crate::kernel::{at, call, into};
use crate::stage::{Held, Stage, Trouble};

fn size(fd: &impl AsRawFd) -> [u16; 4] {
    let mut size = [0; 4];
    let _ = call(libc::SYS_ioctl, &[fd.as_raw_fd() as usize, libc::TIOCGWINSZ as usize, into(&mut size)]);
    size
}

pub fn hold(stage: &mut Stage) -> Held {
    let ends = openpty(None, None)?;
    let (master, slave) = (ends.master, ends.slave);
    let name = nix::unistd::ttyname(&slave)?;
    let again =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK).open(&name)?;
    let mut modes = tcgetattr(&slave)?;
    modes.local_flags.remove(LocalFlags::ECHO | LocalFlags::ISIG);
    modes.control_chars[SpecialCharacterIndices::VINTR as usize] = 7;
    tcsetattr(&slave, SetArg::TCSANOW, &modes)?;
    call(libc::SYS_ioctl, &[master.as_raw_fd() as usize, libc::TIOCSWINSZ as usize, at(&[33_u16, 99, 5, 6])])?;
    write(&master, b"typed\nhalf a li")?;
    write(&slave, b"printed\n")?;
    stage.keeps(|wrong| {
        let found = tcgetattr(&slave).map_err(Trouble::from).ok();
        wrong.equal("modes", found, Some(modes.clone()));
        wrong.equal("size", [size(&master), size(&slave)], [[33, 99, 5, 6]; 2]);
        wrong.gives("name", nix::unistd::ttyname(&again), name.clone());
    })?;
    stage.wrong.gives("what was typed", read(&slave, 100), b"typed\n".to_vec());
    write(&master, b"ne\n")?;
    stage.wrong.gives("the line that was half typed", read(&again, 100), b"half a line\n".to_vec());
    stage.wrong.gives("what was printed", read(&master, 100), b"printed\r\n".to_vec());
    write(&slave, b"more")?;
    stage.wrong.gives("what is printed now", read(&master, 100), b"more".to_vec());
    Ok(())
}
