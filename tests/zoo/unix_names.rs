//! Names of unix sockets: one whose file was removed, one whose file was renamed, a relative one, one that the kernel
//! has chosen, a very long one; each socket keeps the very name, and its file its place, owner and permissions.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;

use crate::sockets::{bind, connect, name, receive, send, socket};
use crate::stage::{Held, Stage, Trouble};

fn listener(path: &[u8]) -> Result<OwnedFd, Trouble> {
    let made = socket(libc::SOCK_STREAM)?;
    bind(&made, path)?;
    crate::kernel::call(libc::SYS_listen, &[std::os::fd::AsRawFd::as_raw_fd(&made) as usize, 4])?;
    Ok(made)
}

/// Whether a connection to this path comes to this socket.
fn answers(path: &[u8], listener: &OwnedFd) -> bool {
    let Ok(client) = socket(libc::SOCK_STREAM) else { return false };
    connect(&client, path).is_ok() && accept(listener).is_ok()
}

fn accept(listener: &OwnedFd) -> std::io::Result<OwnedFd> {
    let number = std::os::fd::AsRawFd::as_raw_fd(listener) as usize;
    crate::kernel::call(libc::SYS_accept4, &[number, 0, 0, 0]).map(crate::descriptors::owned)
}

pub fn hold(stage: &mut Stage) -> Held {
    let path = |name: &str| stage.path(name).to_string_lossy().into_owned().into_bytes();
    let (removed, renamed, new_path) = (path("removed"), path("renamed"), path("its new name"));
    let gone = listener(&removed)?;
    let client = socket(libc::SOCK_STREAM)?;
    connect(&client, &removed)?;
    let server = accept(&gone)?;
    std::fs::remove_file(stage.path("removed"))?;
    let moved = listener(&renamed)?;
    std::fs::rename(stage.path("renamed"), stage.path("its new name"))?;
    std::fs::set_permissions(stage.path("its new name"), std::fs::Permissions::from_mode(0o751))?;
    // The program's working directory is its folder.
    let relative = listener(b"relative")?;
    let chosen = socket(libc::SOCK_DGRAM)?;
    bind(&chosen, b"")?;
    let chosen_name = name(&chosen, false);
    stage.wrong.equal("a name that the kernel chose", chosen_name.len(), 6);
    let long = [b"./".repeat(52), b"long".to_vec()].concat();
    let long_one = listener(&long)?;
    stage.keeps(|wrong| {
        wrong.equal("the removed one's name", name(&gone, false), removed.clone());
        wrong.equal("its client's peer", name(&client, true), removed.clone());
        wrong.equal("its server's name", name(&server, false), removed.clone());
        wrong.holds("its file is not there", !std::path::Path::new("removed").exists());
        wrong.equal("the renamed one's name", name(&moved, false), renamed.clone());
        wrong.holds("it answers at its new place", answers(&new_path, &moved));
        let mode = std::fs::metadata("its new name").map(|found| found.permissions().mode() & 0o7777);
        wrong.gives("its permissions", mode, 0o751);
        wrong.equal("the relative one's name", name(&relative, false), b"relative".to_vec());
        wrong.holds("it answers", answers(b"relative", &relative) && answers(b"./relative", &relative));
        wrong.equal("the name that the kernel chose", name(&chosen, false), chosen_name.clone());
        wrong.equal("the long name", name(&long_one, false), long.clone());
        wrong.holds("the long one answers", answers(&long, &long_one));
    })?;
    send(&client, b"still")?;
    stage.wrong.gives("what comes from the client", receive(&server, 0), b"still".to_vec());
    Ok(())
}
