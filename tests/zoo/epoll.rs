//! Epoll sets: data, edges, one shot used up, nested sets.

use std::io::pipe;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::descriptors::{owned, write};
use crate::kernel::{at, call, into};
use crate::stage::{Held, Stage, Trouble};

fn create() -> Result<OwnedFd, Trouble> {
    Ok(owned(call(libc::SYS_epoll_create1, &[0])?))
}

fn watch(set: &OwnedFd, fd: i32, events: i32, data: u64) -> std::io::Result<i64> {
    let event = libc::epoll_event { events: events as u32, u64: data };
    call(libc::SYS_epoll_ctl, &[set.as_raw_fd() as usize, libc::EPOLL_CTL_ADD as usize, fd as usize, at(&event)])
}

/// The data and the events that are ready now, sorted.
fn ready(set: &OwnedFd) -> Vec<(u64, u32)> {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
    let count = call(libc::SYS_epoll_wait, &[set.as_raw_fd() as usize, into(&mut events), 8, 0]).unwrap_or(0);
    let mut found: Vec<(u64, u32)> = events[..count as usize].iter().map(|event| (event.u64, event.events)).collect();
    found.sort_unstable();
    found
}

pub fn hold(stage: &mut Stage) -> Held {
    let (reader, writer) = pipe()?;
    let input = libc::EPOLLIN as u32;
    let (plain, edge, once, outer) = (create()?, create()?, create()?, create()?);
    watch(&plain, reader.as_raw_fd(), libc::EPOLLIN | libc::EPOLLRDHUP, 0xffff_0000_1234_5678)?;
    watch(&edge, reader.as_raw_fd(), libc::EPOLLIN | libc::EPOLLET, 2)?;
    watch(&once, reader.as_raw_fd(), libc::EPOLLIN | libc::EPOLLONESHOT, 3)?;
    watch(&outer, plain.as_raw_fd(), libc::EPOLLIN, 4)?;
    write(&writer, b"x")?;
    stage.wrong.equal("edge before", ready(&edge), vec![(2, input)]);
    stage.wrong.equal("one shot before", ready(&once), vec![(3, input)]);
    stage.keeps(|wrong| {
        wrong.equal("plain", ready(&plain), vec![(0xffff_0000_1234_5678, input)]);
        wrong.equal("an edge that was told", ready(&edge), vec![]);
        wrong.equal("one shot that was used up", ready(&once), vec![]);
        wrong.equal("outer", ready(&outer), vec![(4, input)]);
    })?;
    write(&writer, b"y")?;
    stage.wrong.equal("a new edge", ready(&edge), vec![(2, input)]);
    let event = libc::epoll_event { events: input, u64: 6 };
    let arguments = [once.as_raw_fd() as usize, libc::EPOLL_CTL_MOD as usize, reader.as_raw_fd() as usize, at(&event)];
    call(libc::SYS_epoll_ctl, &arguments)?;
    stage.wrong.equal("armed again", ready(&once), vec![(6, input)]);
    Ok(())
}
