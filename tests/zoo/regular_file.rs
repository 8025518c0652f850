//! Regular files: position, append, read-only, write-only, beyond the end, and a position moved by every one of them.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let path = stage.path("file");
    fs::write(&path, "0123456789")?;
    let mut reading = fs::File::open(&path)?;
    reading.seek(SeekFrom::Start(4))?;
    let mut appending = OpenOptions::new().append(true).open(&path)?;
    let mut writing =
        OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | libc::O_SYNC | libc::O_NOATIME).open(&path)?;
    writing.seek(SeekFrom::Start(1))?;
    let mut beyond = OpenOptions::new().read(true).write(true).open(&path)?;
    beyond.seek(SeekFrom::Start(1 << 33))?;
    let flags = |file: &fs::File| {
        // SAFETY: takes numbers only.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) & !libc::O_LARGEFILE & !0o100_000 }
    };
    stage.keeps(|wrong| {
        wrong.gives("position of the reader", reading.stream_position(), 4);
        wrong.gives("position of the writer", writing.stream_position(), 1);
        wrong.gives("position beyond the end", beyond.stream_position(), 1 << 33);
        wrong.equal("flags of the reader", flags(&reading), libc::O_RDONLY);
        wrong.equal("flags of the appender", flags(&appending), libc::O_WRONLY | libc::O_APPEND);
        wrong.equal(
            "flags of the writer",
            flags(&writing),
            libc::O_WRONLY | libc::O_NONBLOCK | libc::O_SYNC | libc::O_NOATIME,
        );
        wrong.equal("flags of the one beyond", flags(&beyond), libc::O_RDWR);
        wrong.gives("content", fs::read_to_string(&path), "0123456789".to_owned());
    })?;
    writing.write_all(b"W")?;
    appending.write_all(b"A")?;
    let mut rest = String::new();
    reading.read_to_string(&mut rest)?;
    stage.wrong.equal("the rest for the reader", rest.as_str(), "456789A");
    stage.wrong.gives("the file in the end", fs::read_to_string(&path), "0W23456789A".to_owned());
    Ok(())
}
