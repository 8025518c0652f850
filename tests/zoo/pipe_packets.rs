//! A pipe in packet mode (O_DIRECT): what was written together is read together, and the rest of a packet is dropped.

use crate::descriptors::{fcntl, owned, read, would_wait, write};
use crate::kernel::{call, into};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let mut ends = [0_i32; 2];
    call(libc::SYS_pipe2, &[into(&mut ends), (libc::O_DIRECT | libc::O_NONBLOCK) as usize])?;
    let (reader, writer) = (owned(i64::from(ends[0])), owned(i64::from(ends[1])));
    for packet in [b"one".as_slice(), b"a longer one", b"", b"three"] {
        write(&writer, packet)?;
    }
    stage.keeps(|wrong| {
        wrong.gives("flags", fcntl(&writer, libc::F_GETFL, 0).map(|flags| flags & libc::O_DIRECT), libc::O_DIRECT);
    })?;
    stage.wrong.gives("the first packet", read(&reader, 100), b"one".to_vec());
    stage.wrong.gives("the start of the second", read(&reader, 4), b"a lo".to_vec());
    stage.wrong.gives("the third", read(&reader, 100), b"three".to_vec());
    stage.wrong.holds("no more", would_wait(&read(&reader, 100)));
    Ok(())
}
