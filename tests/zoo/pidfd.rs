//! Handles on processes: the program itself, a child, one that was waited for; shared with the child.

use std::os::fd::{AsRawFd, OwnedFd};

use crate::descriptors::{fcntl, info, owned};
use crate::kernel::{Ended, call, exit, fork, wait_for};
use crate::stage::{Held, Stage, Trouble};

fn handle(pid: i32, flags: i32) -> Result<OwnedFd, Trouble> {
    Ok(owned(call(libc::SYS_pidfd_open, &[pid as usize, flags as usize])?))
}

fn pid_of(handle: &OwnedFd) -> Option<i32> {
    info(handle).lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
}

/// Whether its process has ended.
fn has_ended(handle: &OwnedFd) -> bool {
    let mut asked = libc::pollfd { fd: handle.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure that lives through the call.
    unsafe { libc::poll(&raw mut asked, 1, 0) == 1 }
}

pub fn hold(stage: &mut Stage) -> Held {
    let own = handle(std::process::id() as i32, 0)?;
    let pid = fork()?;
    if pid == 0 {
        exit(3);
    }
    let gone = handle(pid, libc::O_NONBLOCK)?;
    stage.wrong.equal("the first child", wait_for(pid)?, Ended::Code(3));
    let parent = std::process::id() as i32;
    let child = stage.child(|stage| {
        stage.keeps(|wrong| {
            wrong.equal("the parent, seen from the child", pid_of(&own), Some(parent));
            wrong.holds("the one that has ended", has_ended(&gone));
        })
    })?;
    let alive = handle(child.pid, 0)?;
    stage.keeps(|wrong| {
        wrong.equal("itself", pid_of(&own), Some(parent));
        wrong.equal("the child", pid_of(&alive), Some(child.pid));
        wrong.equal("one that has ended", pid_of(&gone), Some(-1));
        wrong.gives("flags", fcntl(&gone, libc::F_GETFL, 0).map(|flags| flags & libc::O_NONBLOCK), libc::O_NONBLOCK);
        wrong.holds("it has ended", has_ended(&gone));
        wrong.holds("itself has not", !has_ended(&own));
    })?;
    stage.wrong.holds("the child's end is told", crate::kernel::until(|| has_ended(&alive)));
    stage.join(child);
    Ok(())
}
