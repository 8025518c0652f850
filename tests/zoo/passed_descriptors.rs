//! A descriptor on its way: sent over a unix socket (SCM_RIGHTS) and not yet received; nobody else has the file open.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::descriptors::{owned, position};
use crate::sockets::pair;
use crate::stage::{Held, Stage};

/// Receives a message, and with it at most one descriptor.
pub fn receive(socket: &OwnedFd) -> Result<Option<OwnedFd>, nix::Error> {
    let mut space = nix::cmsg_space!([i32; 2]);
    let mut bytes = [0; 16];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
    let rights = message.cmsgs()?.find_map(|one| match one {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    Ok(rights.map(|fd| owned(i64::from(fd))))
}

pub fn hold(stage: &mut Stage) -> Held {
    let (one, other) = pair(libc::SOCK_STREAM)?;
    let mut file = File::create(stage.path("file"))?;
    file.write_all(b"0123456789")?;
    file.seek(SeekFrom::Start(6))?;
    let fds = [file.as_raw_fd()];
    sendmsg::<()>(
        one.as_raw_fd(),
        &[IoSlice::new(b"here")],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::empty(),
        None,
    )?;
    drop(file);
    stage.ready_and_wait()?;
    match receive(&other)? {
        Some(fd) => stage.wrong.gives("position of the file that arrives", position(&fd), 6),
        None => stage.wrong.say("no descriptor arrives"),
    }
    Ok(())
}
