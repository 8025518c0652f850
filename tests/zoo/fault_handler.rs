//! A userfaultfd with a range registered: the engine cannot hold it, and must say so by name.

use std::os::fd::AsRawFd;

use crate::descriptors::owned;
use crate::kernel::{at, call, into};
use crate::memory::Mapping;
use crate::stage::{Held, Stage, cannot};

const UFFD_USER_MODE_ONLY: usize = 1;
const UFFDIO_API: usize = 0xc018_aa3f;
const UFFDIO_REGISTER: usize = 0xc020_aa00;

pub fn hold(stage: &mut Stage) -> Held {
    let fd = match call(libc::SYS_userfaultfd, &[UFFD_USER_MODE_ONLY]) {
        Ok(fd) => owned(fd),
        Err(error) => return cannot(format!("userfaultfd: {error}")),
    };
    let number = fd.as_raw_fd() as usize;
    let mapping = Mapping::anonymous(4)?;
    call(libc::SYS_ioctl, &[number, UFFDIO_API, into(&mut [0xaa_u64, 0, 0])])?;
    call(libc::SYS_ioctl, &[number, UFFDIO_REGISTER, at(&[mapping.start as u64, mapping.length as u64, 1, 0])])?;
    stage.keeps(|wrong| wrong.holds("the range is watched", mapping.has_flag("um")))
}
