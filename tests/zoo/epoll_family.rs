//! An epoll set that a parent and its children share: it watches what one of them alone has open, what was made after
//! it, a number that stands for something else now, the same number twice, and the signals of the process.

use std::io::pipe;
use std::os::fd::AsRawFd;

use crate::descriptors::{Watched, fcntl, info, owned, write};
use crate::kernel::{at, call, until};
use crate::signals::{bit, block};
use crate::stage::{Held, Stage, Trouble};

const IN: i32 = libc::EPOLLIN;
const NUMBER: i32 = 200;

/// A pipe that has something in it, its reading end at `NUMBER` for as long as the set is told of it.
fn watch_at_number(set: &Watched, data: u64) -> Result<(std::io::PipeReader, std::io::PipeWriter), Trouble> {
    let (reader, writer) = pipe()?;
    let there = owned(call(libc::SYS_dup3, &[reader.as_raw_fd() as usize, NUMBER as usize, 0])?);
    set.add(&there, IN, data)?;
    write(&writer, b"x")?;
    Ok((reader, writer))
}

pub fn hold(stage: &mut Stage) -> Held {
    let set = Watched::new()?;
    let _twice = (watch_at_number(&set, 1)?, watch_at_number(&set, 2)?);
    let signal = libc::SIGRTMIN() + 3;
    block(bit(signal))?;
    let mask = bit(signal);
    let signals = owned(call(libc::SYS_signalfd4, &[usize::MAX, at(&mask), 8, 0])?);
    set.add(&signals, IN, 3)?;
    let child = stage.child(|stage| {
        let (reader, writer) = pipe()?;
        set.add(&reader, IN, 4)?;
        write(&writer, b"x")?;
        stage.keeps(|wrong| {
            let all: Vec<u64> = set.ready().into_iter().map(|(data, _)| data).collect();
            wrong.equal("what the child sees", all, vec![1, 2, 4]);
        })
    })?;
    let occupied = owned(fcntl(&std::fs::File::open("/dev/null")?, libc::F_DUPFD, NUMBER)?.into());
    stage.keeps(|wrong| {
        wrong.equal("the number stands for something else", occupied.as_raw_fd(), NUMBER);
        let watched = info(&set.0).lines().filter(|line| line.starts_with("tfd:      200 ")).count();
        wrong.equal("watches by one number", watched, 2);
    })?;
    // The child has ended, or will: what it had watched alone leaves the set.
    stage.join(child);
    stage.wrong.holds("only its own are left", until(|| set.ready().len() == 2));
    // SAFETY: takes numbers only.
    unsafe { libc::kill(libc::getpid(), signal) };
    let all: Vec<u64> = set.ready().into_iter().map(|(data, _)| data).collect();
    stage.wrong.equal("the signal is told", all, vec![1, 2, 3]);
    Ok(())
}
