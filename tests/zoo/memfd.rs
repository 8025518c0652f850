//! A memfd: mapped twice and held by a descriptor, one object; its size, content, position and seals.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

use crate::kernel::{at, call, checked};
use crate::memory::{Mapping, PAGE, READ_WRITE};
use crate::stage::{Held, Stage};

const SEALS: i32 = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;

pub fn hold(stage: &mut Stage) -> Held {
    let fd = call(libc::SYS_memfd_create, &[at(c"the name".to_bytes_with_nul()), libc::MFD_ALLOW_SEALING as usize])?;
    // SAFETY: the descriptor has just been made, and nothing else owns it.
    let mut file = unsafe { File::from_raw_fd(fd as i32) };
    file.set_len(20 * PAGE as u64 + 5)?;
    let one = Mapping::new(8 * PAGE, READ_WRITE, libc::MAP_SHARED, file.as_raw_fd(), 0)?;
    let two = Mapping::new(2 * PAGE, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 6 * PAGE as i64)?;
    one.fill(5);
    file.write_all_at(b"end", 20 * PAGE as u64 + 2)?;
    file.seek(SeekFrom::Start(777))?;
    // SAFETY: takes numbers only.
    checked(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, SEALS) })?;
    stage.keeps(|wrong| {
        // SAFETY: takes numbers only.
        wrong.equal("seals", unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) }, SEALS);
        wrong.gives("size", file.metadata().map(|data| data.len()), 20 * PAGE as u64 + 5);
        wrong.gives("position", file.stream_position(), 777);
        wrong.equal("first wrong page", one.first_wrong_page(5), None);
        wrong.equal("the second mapping is the same object", two.bytes(), &one.bytes()[6 * PAGE..]);
        let mut end = [0; 5];
        wrong.gives("reading the end", file.read_exact_at(&mut end, 20 * PAGE as u64), ());
        wrong.equal("the end", end, *b"\0\0end");
        wrong.holds("it cannot grow", file.set_len(30 * PAGE as u64).is_err());
        wrong.gives("name", std::fs::read_link(format!("/proc/self/fd/{fd}")), "/memfd:the name (deleted)".into());
    })?;
    one.write(6 * PAGE, b"afterwards");
    stage.wrong.equal("still one object", &two.bytes()[..10], b"afterwards".as_slice());
    let mut seen = [0; 10];
    file.read_exact_at(&mut seen, 6 * PAGE as u64)?;
    stage.wrong.equal("still the descriptor's object", seen, *b"afterwards");
    Ok(())
}
