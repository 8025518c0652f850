//! A POSIX message queue that has no name any more.

use crate::kernel::{at, call, into};
use crate::stage::{Held, Stage, cannot};

/// Opens the queue of this name; `most`: makes it, for so many messages of 16 bytes.
pub fn open(name: &std::ffi::CStr, flags: i32, most: usize) -> std::io::Result<usize> {
    let attributes = [0, most, 16, 0, 0, 0, 0, 0];
    let make = if most > 0 { libc::O_CREAT | libc::O_EXCL } else { 0 };
    let arguments = [at(name.to_bytes_with_nul()), (flags | make) as usize, 0o640, at(&attributes)];
    call(libc::SYS_mq_open, &arguments).map(|queue| queue as usize)
}

pub fn send(queue: usize, bytes: &[u8], priority: usize) -> std::io::Result<i64> {
    let now = [0_u64; 2];
    call(libc::SYS_mq_timedsend, &[queue, at(bytes), bytes.len(), priority, at(&now)])
}

/// The next message and its priority; the error's number where there is none.
pub fn receive(queue: usize) -> Result<(Vec<u8>, u32), i32> {
    let (now, mut room, mut priority) = ([0_u64; 2], [0_u8; 16], 0_u32);
    let arguments = [queue, into(&mut room), room.len(), into(&mut priority), at(&now)];
    let length = call(libc::SYS_mq_timedreceive, &arguments).map_err(|error| error.raw_os_error().unwrap_or(0))?;
    Ok((room[..length as usize].to_vec(), priority))
}

/// How many messages fit, how long they may be, and how many wait.
pub fn attributes(queue: usize) -> [i64; 3] {
    let mut found = [0_i64; 8];
    let _ = call(libc::SYS_mq_getsetattr, &[queue, 0, into(&mut found)]);
    [found[1], found[2], found[3]]
}

pub fn unlink(name: &std::ffi::CStr) -> std::io::Result<i64> {
    call(libc::SYS_mq_unlink, &[at(name.to_bytes_with_nul())])
}

pub fn hold(stage: &mut Stage) -> Held {
    let name = std::ffi::CString::new(format!("dormouse-{}", std::process::id()))?;
    let queue = match open(&name, libc::O_RDWR, 4) {
        Ok(queue) => queue,
        Err(error) => return cannot(format!("mq_open: {error}")),
    };
    unlink(&name)?;
    for (bytes, priority) in [(&b"late"[..], 1), (b"soon", 9), (b"", 9)] {
        send(queue, bytes, priority)?;
    }
    stage.keeps(|wrong| {
        wrong.equal("what it is", attributes(queue), [4, 16, 3]);
        let found = open(&name, libc::O_RDONLY, 0).map_err(|error| error.raw_os_error());
        wrong.equal("its name", found, Err(Some(libc::ENOENT)));
    })?;
    let expected = [(b"soon".to_vec(), 9), (Vec::new(), 9), (b"late".to_vec(), 1)];
    for message in expected {
        stage.wrong.equal("a message", receive(queue), Ok(message));
    }
    stage.wrong.equal("no more of them", receive(queue), Err(libc::ETIMEDOUT));
    Ok(())
}
