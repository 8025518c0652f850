//! Pipes: what is in them, their size, one without readers, one without writers, one between parent and child.

use std::io::{Read, Write, pipe};
use std::os::fd::AsRawFd;

use crate::kernel::checked;
use crate::stage::{Held, Stage};

fn size(pipe: &impl AsRawFd) -> i32 {
    // SAFETY: takes numbers only.
    unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_GETPIPE_SZ) }
}

pub fn hold(stage: &mut Stage) -> Held {
    let (mut full, mut into_full) = pipe()?;
    // SAFETY: takes numbers only.
    checked(unsafe { libc::fcntl(full.as_raw_fd(), libc::F_SETPIPE_SZ, 128 * 1024) })?;
    let data: Vec<u8> = (0..100_000_u32).map(|byte| (byte % 251) as u8).collect();
    into_full.write_all(&data)?;
    let (mut left_over, mut gone) = pipe()?;
    gone.write_all(b"the last words")?;
    drop(gone);
    let (reader, mut broken) = pipe()?;
    drop(reader);
    let (mut from_child, mut to_parent) = pipe()?;
    let child = stage.child(|stage| {
        stage.ready_and_wait()?;
        Ok(to_parent.write_all(b"from the child")?)
    })?;
    drop(to_parent);
    stage.keeps(|wrong| {
        wrong.equal("size", size(&full), 128 * 1024);
        let broken = broken.write(b"x").map_err(|error| error.kind());
        wrong.equal("a pipe without readers", broken, Err(std::io::ErrorKind::BrokenPipe));
    })?;
    drop(into_full);
    let mut text = Vec::new();
    full.read_to_end(&mut text)?;
    stage.wrong.holds("all of what was in it, and no more", text == data);
    text.clear();
    left_over.read_to_end(&mut text)?;
    stage.wrong.equal("what the dead writer left", text.as_slice(), b"the last words".as_slice());
    text.clear();
    from_child.read_to_end(&mut text)?;
    stage.wrong.equal("what the child writes", text.as_slice(), b"from the child".as_slice());
    stage.join(child);
    Ok(())
}
