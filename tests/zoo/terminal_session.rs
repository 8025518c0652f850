//! A session on a pseudo-terminal that a parent holds, as in a terminal program: its leader, a job in the foreground.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::pty::openpty;

use crate::descriptors::{read, write};
use crate::kernel::{at, call, into, until};
use crate::signals::{COUNT, count, handle};
use crate::stage::{Held, Stage};

fn foreground(fd: &OwnedFd) -> i32 {
    let mut group = -1_i32;
    let _ = call(libc::SYS_ioctl, &[fd.as_raw_fd() as usize, libc::TIOCGPGRP as usize, into(&mut group)]);
    group
}

fn session(fd: &OwnedFd) -> i32 {
    let mut session = -1_i32;
    let _ = call(libc::SYS_ioctl, &[fd.as_raw_fd() as usize, libc::TIOCGSID as usize, into(&mut session)]);
    session
}

/// The job: it is in the foreground, so ^C comes to it.
fn job(stage: &mut Stage) -> Held {
    call(libc::SYS_setpgid, &[0, 0])?;
    handle(libc::SIGINT, count as *const () as usize, libc::SA_SIGINFO | libc::SA_RESTART, 0)?;
    stage.ready_and_wait()?;
    let came = || COUNT.load(std::sync::atomic::Ordering::SeqCst) == 1;
    stage.wrong.holds("^C comes to the job", until(came));
    Ok(())
}

pub fn hold(stage: &mut Stage) -> Held {
    let ends = openpty(None, None)?;
    let (master, slave) = (ends.master, ends.slave);
    let leader = stage.child(|stage| {
        let own = call(libc::SYS_setsid, &[])? as i32;
        call(libc::SYS_ioctl, &[slave.as_raw_fd() as usize, libc::TIOCSCTTY as usize, 0])?;
        let job = stage.child(job)?;
        call(libc::SYS_ioctl, &[slave.as_raw_fd() as usize, libc::TIOCSPGRP as usize, at(&job.pid)])?;
        let tty = std::fs::File::open("/dev/tty")?;
        stage.keeps(|wrong| {
            wrong.equal("the terminal's session", session(&slave), own);
            wrong.equal("the foreground", foreground(&slave), job.pid);
            let through = OwnedFd::from(tty.try_clone().unwrap_or_else(|error| panic!("{error}")));
            wrong.equal("/dev/tty is this terminal", session(&through), own);
        })?;
        stage.join(job);
        Ok(())
    })?;
    drop(slave);
    stage.ready_and_wait()?;
    // The leader has looked when its job waits for ^C; the keys can be pressed at any time.
    write(&master, b"\x03")?;
    stage.wrong.gives("^C is shown", read(&master, 2), b"^C".to_vec());
    stage.join(leader);
    Ok(())
}
