//! O_PATH: descriptors that stand for a place and not for its content; a file, a directory, a symbolic link, a socket.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};

use crate::descriptors::{fcntl, read};
use crate::stage::{Held, Stage};

fn place(path: &std::path::Path, flags: i32) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_PATH | flags).open(path)
}

pub fn hold(stage: &mut Stage) -> Held {
    let (file, link, socket) = (stage.path("file"), stage.path("link"), stage.path("socket"));
    fs::write(&file, "content")?;
    symlink("nowhere", &link)?;
    drop(std::os::unix::net::UnixListener::bind(&socket)?);
    let opened = [
        ("file", place(&file, 0)?, file),
        ("directory", place(&stage.path(""), libc::O_DIRECTORY)?, stage.path("")),
        ("link", place(&link, libc::O_NOFOLLOW)?, link),
        ("socket", place(&socket, 0)?, socket),
    ];
    stage.keeps(|wrong| {
        for (name, fd, path) in &opened {
            let there = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
            wrong.gives(name, there.map(|there| there.components().eq(path.components())), true);
            wrong.gives("flags", fcntl(fd, libc::F_GETFL, 0).map(|flags| flags & libc::O_PATH), libc::O_PATH);
            wrong.holds("it cannot be read", read(fd, 1).is_err());
        }
    })
}
