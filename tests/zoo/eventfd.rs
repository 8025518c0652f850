//! Eventfds: a counter over 2^32, a semaphore, one that is full, one that does not block.

use std::fs;

use crate::kernel::checked;
use crate::stage::{Held, Stage};

fn read(fd: i32) -> Result<u64, nix::Error> {
    let mut value = [0; 8];
    // SAFETY: `value` is as long as is said.
    nix::errno::Errno::result(unsafe { libc::read(fd, value.as_mut_ptr().cast(), 8) })?;
    Ok(u64::from_ne_bytes(value))
}

fn write(fd: i32, value: u64) -> Result<isize, nix::Error> {
    // SAFETY: eight bytes are read from a value that lives through the call.
    nix::errno::Errno::result(unsafe { libc::write(fd, (&raw const value).cast(), 8) })
}

fn made(flags: i32) -> Result<i32, std::io::Error> {
    // SAFETY: takes numbers only.
    checked(unsafe { libc::eventfd(0, flags) })
}

pub fn hold(stage: &mut Stage) -> Held {
    let large = made(0)?;
    write(large, (1 << 33) + 7)?;
    let semaphore = made(libc::EFD_SEMAPHORE)?;
    write(semaphore, 5)?;
    let full = made(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC)?;
    write(full, u64::MAX - 1)?;
    let empty = made(libc::EFD_NONBLOCK)?;
    stage.keeps(|wrong| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{semaphore}")).unwrap_or_default();
        wrong.holds(
            "the semaphore shows itself",
            !info.contains("eventfd-semaphore") || info.contains("eventfd-semaphore: 1"),
        );
        wrong.equal("a full counter takes no more", write(full, 1), Err(nix::Error::EAGAIN));
        wrong.equal("an empty counter gives nothing", read(empty), Err(nix::Error::EAGAIN));
    })?;
    stage.wrong.equal("a counter over 2^32", read(large), Ok((1 << 33) + 7));
    for _ in 0..5 {
        stage.wrong.equal("a semaphore counts one by one", read(semaphore), Ok(1));
    }
    // SAFETY: takes numbers only.
    unsafe { libc::fcntl(semaphore, libc::F_SETFL, libc::O_NONBLOCK) };
    stage.wrong.equal("the semaphore is used up", read(semaphore), Err(nix::Error::EAGAIN));
    stage.wrong.equal("the full counter", read(full), Ok(u64::MAX - 1));
    Ok(())
}
