//! Memory that nobody else may read, not even the kernel: memfd_secret(2). The engine refuses it by name.

use std::os::fd::AsRawFd;

use crate::descriptors::owned;
use crate::kernel::call;
use crate::memory::{Mapping, READ_WRITE};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    let fd = match call(libc::SYS_memfd_secret, &[0]) {
        Ok(fd) => owned(fd),
        Err(error) => return cannot(format!("memfd_secret: {error}")),
    };
    call(libc::SYS_ftruncate, &[fd.as_raw_fd() as usize, 2 * 4096])?;
    let mapping = Mapping::new(2 * 4096, READ_WRITE, libc::MAP_SHARED, fd.as_raw_fd(), 0)?;
    mapping.fill(1);
    stage.keeps(|wrong| wrong.equal("content", mapping.first_wrong_page(1), None))
}
