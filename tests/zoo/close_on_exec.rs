//! Close-on-exec, on one of two descriptors of the same description, and numbers with gaps, high ones too.

use std::fs::File;
use std::os::fd::AsRawFd;

use crate::descriptors::fcntl;
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let file = File::create(stage.path("file"))?;
    let plain = fcntl(&file, libc::F_DUPFD, 100)?;
    let closing = fcntl(&file, libc::F_DUPFD_CLOEXEC, 700)?;
    let fd = file.as_raw_fd();
    stage.keeps(|wrong| {
        let flag = |fd: i32| fcntl(&fd, libc::F_GETFD, 0).ok();
        wrong.equal("flags", [fd, plain, closing].map(flag), [Some(1), Some(0), Some(1)]);
        wrong.equal("numbers", (plain, closing), (100, 700));
        wrong.equal("a gap", flag(500), None);
    })
}
