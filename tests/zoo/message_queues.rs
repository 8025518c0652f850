//! POSIX message queues with names: one that is full, opened to read and apart from that to write, which does not wait; and one
//! that a thread waits at.

use std::ffi::CString;

use crate::interrupted::Call;
use crate::kernel::{at, call, into};
use crate::message_queue::{attributes, open, receive, send, unlink};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    let name = |nth: u32| CString::new(format!("dormouse-{}-{nth}", std::process::id()));
    let (full, empty) = (name(1)?, name(2)?);
    let writer = match open(&full, libc::O_WRONLY | libc::O_NONBLOCK, 3) {
        Ok(writer) => writer,
        Err(error) => return cannot(format!("mq_open: {error}")),
    };
    let reader = open(&full, libc::O_RDONLY, 0)?;
    for (bytes, priority) in [(b"two", 5), (b"one", 30000), (b"six", 5)] {
        send(writer, bytes, priority)?;
    }
    let waited_for = open(&empty, libc::O_RDWR, 2)?;
    let waits = Call::start("mq_receive", libc::SYS_mq_timedreceive, None, 5, move || {
        let mut room = [0_u8; 16];
        let received = call(libc::SYS_mq_timedreceive, &[waited_for, into(&mut room), 16, 0, 0]);
        received.map_err(|error| error.to_string())
    })?;
    stage.keeps(|wrong| {
        wrong.equal("the full one", (attributes(reader), attributes(writer)), ([3, 16, 3], [3, 16, 3]));
        wrong.equal("the empty one", attributes(waited_for), [2, 16, 0]);
        // It would wait, and must not.
        let more = call(libc::SYS_mq_timedsend, &[writer, at(b"more"), 4, 1, 0]);
        wrong.equal("no more goes in", more.map_err(|error| error.raw_os_error()), Err(Some(libc::EAGAIN)));
        wrong.equal("nothing is to be read from the writer", receive(writer), Err(libc::EBADF));
        wrong.holds(
            "its name leads to it",
            open(&full, libc::O_RDONLY, 0).is_ok_and(|again| {
                let found = attributes(again);
                call(libc::SYS_close, &[again]).is_ok() && found == [3, 16, 3]
            }),
        );
    })?;
    for (bytes, priority) in [(b"one", 30000), (b"two", 5), (b"six", 5)] {
        stage.wrong.equal("a message", receive(reader), Ok((bytes.to_vec(), priority)));
    }
    waits.still_waits(stage);
    stage.wrong.gives("a message for who waits", send(waited_for, b"hello", 1), 0);
    waits.judge(stage);
    unlink(&full)?;
    unlink(&empty)?;
    Ok(())
}
