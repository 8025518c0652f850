//! What is on its way in pseudo-terminals of every setting: read as it comes, with more than the line discipline takes,
//! in packet mode, ended lines without an end, output that ^S or a program has stopped; locked and exclusive ones.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::pty::openpty;
use nix::sys::termios::{FlowArg, InputFlags, SetArg, cfmakeraw, tcflow, tcgetattr, tcsetattr};

use crate::descriptors::{fcntl, read, would_wait, write};
use crate::kernel::{at, call, into, until};
use crate::stage::{Held, Stage};

fn pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    let ends = openpty(None, None)?;
    Ok((ends.master, ends.slave))
}

fn request(fd: &impl AsRawFd, request: u64) -> i32 {
    let mut answer = -1_i32;
    let _ = call(libc::SYS_ioctl, &[fd.as_raw_fd() as usize, request as usize, into(&mut answer)]);
    answer
}

fn set(fd: &impl AsRawFd, request: u64, value: i32) -> std::io::Result<i64> {
    call(libc::SYS_ioctl, &[fd.as_raw_fd() as usize, request as usize, at(&value)])
}

/// Reads so many bytes, in as many reads as it takes.
fn read_all(fd: &impl AsRawFd, count: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        bytes.extend(read(fd, count - bytes.len())?);
    }
    Ok(bytes)
}

fn raw(slave: &OwnedFd) -> nix::Result<()> {
    let mut modes = tcgetattr(slave)?;
    cfmakeraw(&mut modes);
    // Of what has found no room yet, each carriage return becomes a new line later.
    modes.input_flags.insert(InputFlags::ICRNL);
    tcsetattr(slave, SetArg::TCSANOW, &modes)
}

pub fn hold(stage: &mut Stage) -> Held {
    let (full_master, full) = pair()?;
    raw(&full)?;
    let pieces = vec![b'\r'; 3000];
    write(&full_master, &pieces)?;
    write(&full_master, &pieces)?;
    stage.wrong.holds("the line discipline is full", until(|| request(&full, libc::FIONREAD) == 4095));

    let (lines_master, lines) = pair()?;
    write(&lines_master, b"ended\x04\x04whole\nhalf")?;
    stage.wrong.holds("lines are there", until(|| request(&lines, libc::FIONREAD) == 11));

    let (packets_master, packets) = pair()?;
    set(&packets_master, libc::TIOCPKT, 1)?;
    write(&packets, b"packet")?;

    let (stopped_master, stopped) = pair()?;
    write(&stopped, b"before")?;
    write(&stopped_master, b"\x13")?;
    fcntl(&stopped, libc::F_SETFL, libc::O_RDWR | libc::O_NONBLOCK)?;
    let ready = || nix::poll::poll(&mut [nix::poll::PollFd::new(stopped.as_fd(), nix::poll::PollFlags::POLLOUT)], 0_u8);
    stage.wrong.holds("^S stops output", until(|| ready() == Ok(0)));
    let (held_master, held) = pair()?;
    fcntl(&held, libc::F_SETFL, libc::O_RDWR | libc::O_NONBLOCK)?;
    tcflow(&held, FlowArg::TCOOFF)?;

    let locked = nix::pty::posix_openpt(nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_NOCTTY)?;
    call(libc::SYS_ioctl, &[full.as_raw_fd() as usize, libc::TIOCEXCL as usize, 0])?;

    stage.keeps(|wrong| {
        wrong.equal("input that waits", [&full, &lines].map(|fd| request(fd, libc::FIONREAD)), [4095, 11]);
        wrong.equal("packet mode", request(&packets_master, libc::TIOCGPKT), 1);
        wrong.equal("locked", request(&locked, libc::TIOCGPTLCK), 1);
        wrong.equal("exclusive", request(&full, libc::TIOCGEXCL), 1);
        wrong.holds("^S has stopped output", would_wait(&write(&stopped, b"x")));
        wrong.holds("a program has stopped output", would_wait(&write(&held, b"x")));
    })?;
    let wrong = &mut stage.wrong;
    wrong.gives("all that was typed", read_all(&full, 6000), vec![b'\n'; 6000]);
    wrong.gives("a line ended by ^D", read(&lines, 100), b"ended".to_vec());
    wrong.gives("the end of the file", read(&lines, 100), Vec::new());
    wrong.gives("a whole line", read(&lines, 100), b"whole\n".to_vec());
    write(&lines_master, b"\x7f\n")?;
    wrong.gives("a line that can be corrected", read(&lines, 100), b"hal\n".to_vec());
    wrong.gives("a packet", read(&packets_master, 100), b"\0packet".to_vec());
    wrong.gives("what was printed before", read(&stopped_master, 100), b"before".to_vec());
    write(&stopped_master, b"\x11")?;
    wrong.holds("^Q lets output go on", until(|| write(&stopped, b"after").is_ok()));
    write(&held_master, b"\x11")?;
    wrong.holds("^Q does not undo tcflow", would_wait(&write(&held, b"x")));
    tcflow(&held, FlowArg::TCOON)?;
    wrong.gives("tcflow lets output go on", write(&held, b"after"), 5);
    Ok(())
}
