//! Datagrams that wait with the address and the credentials of their senders: from sockets with a name of either sort,
//! without one, from some that are closed, and from a process that has ended.

use std::os::fd::OwnedFd;

use crate::kernel::{exit, fork, wait_for};
use crate::sockets::{bind, connect, receive_from, send, set, socket};
use crate::stage::{Held, Stage, Trouble};

type Sent = (Vec<u8>, Vec<u8>, i32);

/// Sends from a socket of this name.
fn from(name: Option<&[u8]>, to: &[u8], bytes: &[u8]) -> Result<OwnedFd, Trouble> {
    let sender = socket(libc::SOCK_DGRAM)?;
    if let Some(name) = name {
        bind(&sender, name)?;
    }
    connect(&sender, to)?;
    send(&sender, bytes)?;
    Ok(sender)
}

pub fn hold(stage: &mut Stage) -> Held {
    let own = std::process::id() as i32;
    let path = stage.path("receiver").to_string_lossy().into_owned().into_bytes();
    let receiver = socket(libc::SOCK_DGRAM)?;
    bind(&receiver, &path)?;
    set(&receiver, libc::SOL_SOCKET, libc::SO_PASSCRED, 1)?;
    let at_path = stage.path("sender").to_string_lossy().into_owned().into_bytes();
    let closed = stage.path("closed").to_string_lossy().into_owned().into_bytes();
    let no_name = format!("\0dormouse sender {own}").into_bytes();
    let _kept = [
        from(Some(&at_path), &path, b"from a path")?,
        from(Some(&no_name), &path, b"from an abstract name")?,
        from(None, &path, b"from nowhere")?,
    ];
    drop(from(Some(&closed), &path, b"from one that is closed")?);
    std::fs::remove_file(stage.path("closed"))?;
    let child = fork()?;
    if child == 0 {
        exit(i32::from(from(None, &path, b"from one that has ended").is_err()));
    }
    wait_for(child)?;
    // A connected one takes datagrams of others only from before.
    let late = socket(libc::SOCK_DGRAM)?;
    let late_path = stage.path("late").to_string_lossy().into_owned().into_bytes();
    bind(&late, &late_path)?;
    let stranger = from(None, &late_path, b"before it was connected")?;
    connect(&late, &path)?;
    stage.ready_and_wait()?;
    let expected: [Sent; 5] = [
        (b"from a path".to_vec(), at_path, own),
        (b"from an abstract name".to_vec(), no_name, own),
        (b"from nowhere".to_vec(), Vec::new(), own),
        (b"from one that is closed".to_vec(), closed, own),
        (b"from one that has ended".to_vec(), Vec::new(), child),
    ];
    for sent in expected {
        stage.wrong.gives("a datagram, its sender's name and pid", receive_from(&receiver), sent);
    }
    stage.wrong.holds("no more", receive_from(&receiver).is_err());
    let before = (b"before it was connected".to_vec(), Vec::new(), 0);
    stage.wrong.gives("a datagram of another", receive_from(&late), before);
    stage.wrong.holds("another may not send any more", send(&stranger, b"x").is_err());
    stage.wrong.gives("it sends on", send(&late, b"late"), 4);
    let (bytes, name, _) = receive_from(&receiver)?;
    stage.wrong.equal("what it sends", (bytes, name), (b"late".to_vec(), late_path));
    Ok(())
}
