//! A POSIX message queue: the engine cannot hold it, and must say so by name.

use crate::kernel::{at, call};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    let name = std::ffi::CString::new(format!("dormouse-{}", std::process::id()))?;
    let flags = (libc::O_RDWR | libc::O_CREAT | libc::O_EXCL) as usize;
    let queue = match call(libc::SYS_mq_open, &[at(name.to_bytes_with_nul()), flags, 0o600, 0]) {
        Ok(queue) => queue,
        Err(error) => return cannot(format!("mq_open: {error}")),
    };
    call(libc::SYS_mq_unlink, &[at(name.to_bytes_with_nul())])?;
    stage.keeps(|wrong| {
        let sent = call(libc::SYS_mq_timedsend, &[queue as usize, at(b"hi"), 2, 0, 0]);
        wrong.gives("a message goes in", sent, 0);
    })
}
