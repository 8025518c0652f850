//! An epoll set that watches an open file under a number that is closed, because another descriptor keeps it open.

use std::io::pipe;
use std::os::fd::AsRawFd;

use crate::descriptors::{fcntl, owned, write};
use crate::kernel::{at, call, into};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let (reader, writer) = pipe()?;
    let set = owned(call(libc::SYS_epoll_create1, &[0])?);
    let number = fcntl(&reader, libc::F_DUPFD, 300)?;
    let event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 5 };
    call(libc::SYS_epoll_ctl, &[set.as_raw_fd() as usize, libc::EPOLL_CTL_ADD as usize, number as usize, at(&event)])?;
    drop(owned(i64::from(number)));
    write(&writer, b"x")?;
    stage.keeps(|wrong| {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 4];
        let count = call(libc::SYS_epoll_wait, &[set.as_raw_fd() as usize, into(&mut events), 4, 0]);
        wrong.gives("events", count, 1);
        let data = events[0].u64;
        wrong.equal("the event's data", data, 5);
        wrong.holds("the number is closed", fcntl(&number, libc::F_GETFD, 0).is_err());
    })
}
