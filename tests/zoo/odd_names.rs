//! Files with names that /proc writes in a way of its own: a line feed, bytes that are no text, ` (deleted)` at the end
//! of a name that is still there; opened with flags that stay, positions beyond the end, and mapped.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use crate::descriptors::{fcntl, position};
use crate::kernel::call;
use crate::memory::{Mapping, PAGE, READ_WRITE};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let names: [(&[u8], i32); 4] = [
        (b"line\nfeed", libc::O_APPEND),
        (b"\xff\xfe bytes", libc::O_SYNC),
        (b"here (deleted)", libc::O_DSYNC | libc::O_NOATIME),
        (b"back\\slash \\012", libc::O_NONBLOCK | libc::O_NOFOLLOW),
    ];
    let mut opened = Vec::new();
    for (name, flags) in names {
        let path = stage.path("").join(OsStr::from_bytes(name));
        fs::write(&path, vec![7; PAGE])?;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path)?;
        call(libc::SYS_lseek, &[file.as_raw_fd() as usize, 1 << 40, libc::SEEK_SET as usize])?;
        let mapping = Mapping::new(PAGE, READ_WRITE, libc::MAP_SHARED, file.as_raw_fd(), 0)?;
        opened.push((path, file, flags, mapping));
    }
    stage.keeps(|wrong| {
        for (path, file, flags, mapping) in &opened {
            let ids = |data: fs::Metadata| (data.dev(), data.ino());
            wrong.equal("the file", file.metadata().map(ids).ok(), fs::metadata(path).map(ids).ok());
            wrong.gives("flags", fcntl(file, libc::F_GETFL, 0).map(|found| found & flags), *flags);
            wrong.gives("position", position(file), 1 << 40);
            wrong.holds("the mapping", mapping.bytes().iter().all(|byte| *byte == 7));
        }
    })?;
    for (path, _, _, mapping) in &opened {
        mapping.write(0, b"new");
        stage.wrong.holds("the mapping shows the file", fs::read(path)?.starts_with(b"new"));
    }
    Ok(())
}
