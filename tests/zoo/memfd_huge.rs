//! A memory file of huge pages (hugetlb), with a hole, seals, a position, a shared mapping and a private one with a page of its
//! own.

use std::os::fd::AsRawFd;

use crate::descriptors::{fcntl, owned, position};
use crate::kernel::{at, call};
use crate::memory::{Mapping, READ_WRITE};
use crate::stage::{Held, Stage};

const HUGE: usize = 2 << 20;

pub fn hold(stage: &mut Stage) -> Held {
    let name = c"huge";
    let flags = libc::MFD_HUGETLB | libc::MFD_HUGE_2MB | libc::MFD_ALLOW_SEALING;
    let file = owned(call(libc::SYS_memfd_create, &[at(name.to_bytes_with_nul()), flags as usize])?);
    call(libc::SYS_ftruncate, &[file.as_raw_fd() as usize, 3 * HUGE])?;
    let shared = Mapping::new(3 * HUGE, READ_WRITE, libc::MAP_SHARED, file.as_raw_fd(), 0)?;
    shared.part(0, 512).fill(1);
    shared.write(3 * HUGE - 4, b"last");
    let private = Mapping::new(2 * HUGE, READ_WRITE, libc::MAP_PRIVATE, file.as_raw_fd(), HUGE as i64)?;
    private.part(0, 512).fill(9);
    fcntl(&file, libc::F_ADD_SEALS, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW)?;
    call(libc::SYS_lseek, &[file.as_raw_fd() as usize, 12345, libc::SEEK_SET as usize])?;
    // A second descriptor is the same file.
    let again = owned(call(libc::SYS_dup, &[file.as_raw_fd() as usize])?);
    stage.keeps(|wrong| {
        wrong.holds("hugetlb", shared.has_flag("ht") && private.has_flag("ht"));
        wrong.equal("content", shared.part(0, 512).first_wrong_page(1), None);
        wrong.holds("the hole", shared.bytes()[HUGE..2 * HUGE].iter().all(|byte| *byte == 0));
        wrong.equal("the last bytes", &shared.bytes()[3 * HUGE - 5..], b"\0last");
        wrong.equal("a page of its own", private.part(0, 512).first_wrong_page(9), None);
        wrong.equal("and one of the file", &private.bytes()[2 * HUGE - 4..], b"last");
        wrong.gives("seals", fcntl(&file, libc::F_GET_SEALS, 0), libc::F_SEAL_SHRINK | libc::F_SEAL_GROW);
        wrong.gives("position", position(&again), 12345);
    })?;
    shared.write(HUGE, b"hole");
    let mut bytes = [0_u8; 4];
    let read = call(libc::SYS_pread64, &[again.as_raw_fd() as usize, crate::kernel::into(&mut bytes), 4, HUGE]);
    stage.wrong.gives("read through the descriptor", read, 4);
    stage.wrong.equal("what the mapping has written", &bytes, b"hole");
    Ok(())
}
