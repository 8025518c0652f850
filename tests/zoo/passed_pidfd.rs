//! A handle on a process, on its way in a unix socket: it can be made only when the processes are there, and a socket is
//! filled before. It must be refused by name.

use std::io::IoSlice;
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::descriptors::{info, owned};
use crate::kernel::call;
use crate::passed_descriptors::receive;
use crate::sockets::pair;
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let (one, other) = pair(libc::SOCK_STREAM)?;
    let handle = owned(call(libc::SYS_pidfd_open, &[std::process::id() as usize, 0])?);
    let fds = [handle.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(one.as_raw_fd(), &[IoSlice::new(b"here")], &rights, MsgFlags::empty(), None)?;
    drop(handle);
    stage.ready_and_wait()?;
    match receive(&other)? {
        Some(fd) => {
            let own = format!("Pid:\t{}\n", std::process::id());
            stage.wrong.holds("the handle that arrives", info(&fd).contains(&own));
        }
        None => stage.wrong.say("no descriptor arrives"),
    }
    Ok(())
}
