//! A POSIX message queue of whose next message the process is to be told, mq_notify(3): the engine cannot hold that, and must
//! say so by name.

use std::ffi::CString;

use crate::kernel::{at, call};
use crate::message_queue::{attributes, open, send, unlink};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    let name = CString::new(format!("dormouse-{}", std::process::id()))?;
    let queue = match open(&name, libc::O_RDWR, 2) {
        Ok(queue) => queue,
        Err(error) => return cannot(format!("mq_open: {error}")),
    };
    unlink(&name)?;
    send(queue, b"here", 1)?;
    // `struct sigevent`: a value, a signal, how; SIGWINCH is ignored.
    let mut event = [0_u32; 16];
    (event[2], event[3]) = (libc::SIGWINCH as u32, libc::SIGEV_SIGNAL as u32);
    call(libc::SYS_mq_notify, &[queue, at(&event)])?;
    stage.keeps(|wrong| {
        wrong.equal("what waits", attributes(queue), [2, 16, 1]);
        let again = call(libc::SYS_mq_notify, &[queue, at(&event)]).map_err(|error| error.raw_os_error());
        wrong.equal("it is to be told", again, Err(Some(libc::EBUSY)));
    })
}
