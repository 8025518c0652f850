//! What an epoll set has told and what not: edges waiting and edges told, one shots used up on things that are silent,
//! full or sets themselves, a timer that had expired, an exclusive watch.

use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::{AsRawFd, OwnedFd};

use crate::descriptors::{Watched, fcntl, info, owned, read, write};
use crate::kernel::{at, call};
use crate::stage::{Held, Stage, Trouble};

const IN: i32 = libc::EPOLLIN;
const OUT: i32 = libc::EPOLLOUT;
const EDGE: i32 = libc::EPOLLET;
const ONCE: i32 = libc::EPOLLONESHOT;

fn timer() -> Result<OwnedFd, Trouble> {
    let timer = owned(call(libc::SYS_timerfd_create, &[libc::CLOCK_MONOTONIC as usize, libc::TFD_NONBLOCK as usize])?);
    let soon = [0_i64, 0, 0, 1];
    call(libc::SYS_timerfd_settime, &[timer.as_raw_fd() as usize, 0, at(&soon), 0])?;
    Ok(timer)
}

/// A watch that fires once, and has: the pipe is silent again.
fn silent() -> Result<(Watched, PipeReader, PipeWriter), Trouble> {
    let (reader, writer) = pipe()?;
    let set = Watched::new()?;
    set.add(&reader, IN | ONCE, 1)?;
    write(&writer, b"x")?;
    set.ready();
    read(&reader, 1)?;
    Ok((set, reader, writer))
}

/// A one shot that is used up says nothing of a hang-up.
fn is_used_up(set: &Watched) -> bool {
    info(&set.0).lines().filter(|line| line.starts_with("tfd")).all(|line| line.contains("events: 40000000 "))
}

pub fn hold(stage: &mut Stage) -> Held {
    let (reader, writer) = pipe()?;
    let sets = [Watched::new()?, Watched::new()?, Watched::new()?, Watched::new()?];
    let [waiting, mixed, full, outer] = &sets;
    waiting.add(&reader, IN | EDGE, 1)?;
    waiting.add(&writer, OUT | EDGE | libc::EPOLLRDHUP, 2)?;
    waiting.ready();
    mixed.add(&reader, IN | libc::EPOLLEXCLUSIVE, 3)?;
    mixed.add(&writer, OUT | EDGE, 4)?;
    let (silent, _silent_reader, silent_writer) = silent()?;
    let (_full_reader, full_writer) = pipe()?;
    full.add(&full_writer, OUT | ONCE, 5)?;
    full.ready();
    fcntl(&full_writer, libc::F_SETFL, libc::O_NONBLOCK)?;
    while write(&full_writer, &[0; 4096]).is_ok() {}
    outer.add(&silent.0, IN | ONCE, 6)?;
    let counter = owned(call(libc::SYS_eventfd2, &[1, 0])?);
    silent.add(&counter, IN, 7)?;
    outer.ready();
    call(
        libc::SYS_epoll_ctl,
        &[silent.0.as_raw_fd() as usize, libc::EPOLL_CTL_DEL as usize, counter.as_raw_fd() as usize, 0],
    )?;
    let expired = timer()?;
    let told = Watched::new()?;
    told.add(&expired, IN | EDGE, 8)?;
    stage.wrong.holds("the timer expires", crate::kernel::until(|| told.ready() == [(8, IN as u32)]));
    write(&writer, b"new")?;
    let look = |wrong: &mut crate::stage::Wrong| {
        wrong.holds("a one shot on a silent pipe is used up", is_used_up(&silent));
        wrong.holds("a one shot on a full pipe is used up", is_used_up(full));
        wrong.holds("a one shot on a set is used up", is_used_up(outer));
    };
    look(&mut stage.wrong);
    stage.ready_and_wait()?;
    look(&mut stage.wrong);
    // What was told and is still true may be told again where something else waits.
    stage.wrong.holds("an edge that waits", waiting.ready().contains(&(1, IN as u32)));
    stage.wrong.equal("an edge told", waiting.ready(), vec![]);
    stage.wrong.equal("an edge beside what is ready", mixed.ready(), vec![(3, IN as u32), (4, OUT as u32)]);
    stage.wrong.equal("it is told once", mixed.ready(), vec![(3, IN as u32)]);
    stage.wrong.equal("an expiry told", told.ready(), vec![]);
    drop(silent_writer);
    stage.wrong.equal("used up", silent.ready(), vec![]);
    stage.wrong.equal("used up", full.ready(), vec![]);
    stage.wrong.equal("used up", outer.ready(), vec![]);
    Ok(())
}
