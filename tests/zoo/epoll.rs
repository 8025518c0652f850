//! Epoll sets: data, edges, one shot used up, nested sets.

use std::io::pipe;
use std::os::fd::AsRawFd;

use crate::descriptors::{Watched, write};
use crate::kernel::{at, call};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let (reader, writer) = pipe()?;
    let input = libc::EPOLLIN as u32;
    let (plain, edge) = (Watched::new()?, Watched::new()?);
    let (once, outer) = (Watched::new()?, Watched::new()?);
    plain.add(&reader, libc::EPOLLIN | libc::EPOLLRDHUP, 0xffff_0000_1234_5678)?;
    edge.add(&reader, libc::EPOLLIN | libc::EPOLLET, 2)?;
    once.add(&reader, libc::EPOLLIN | libc::EPOLLONESHOT, 3)?;
    outer.add(&plain.0, libc::EPOLLIN, 4)?;
    write(&writer, b"x")?;
    stage.wrong.equal("edge before", edge.ready(), vec![(2, input)]);
    stage.wrong.equal("one shot before", once.ready(), vec![(3, input)]);
    stage.keeps(|wrong| {
        wrong.equal("plain", plain.ready(), vec![(0xffff_0000_1234_5678, input)]);
        wrong.equal("an edge that was told", edge.ready(), vec![]);
        wrong.equal("one shot that was used up", once.ready(), vec![]);
        wrong.equal("outer", outer.ready(), vec![(4, input)]);
    })?;
    write(&writer, b"y")?;
    stage.wrong.equal("a new edge", edge.ready(), vec![(2, input)]);
    let event = libc::epoll_event { events: input, u64: 6 };
    let arguments =
        [once.0.as_raw_fd() as usize, libc::EPOLL_CTL_MOD as usize, reader.as_raw_fd() as usize, at(&event)];
    call(libc::SYS_epoll_ctl, &arguments)?;
    stage.wrong.equal("armed again", once.ready(), vec![(6, input)]);
    Ok(())
}
