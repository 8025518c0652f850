//! A thread that another one is joining while the group is frozen: when it ends, clear_child_tid wakes the joiner.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::kernel::{stands_in, tid};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let (end, ended) = channel::<()>();
    let (say_tid, joiner_tid) = channel();
    let (say_joined, joined) = channel();
    let worker = thread::spawn(move || ended.recv().is_ok());
    thread::spawn(move || {
        let _ = say_tid.send(tid());
        let _ = say_joined.send(worker.join().is_ok());
    });
    let joiner = joiner_tid.recv()?;
    stage.wrong.holds("the joiner waits on the thread's word", stands_in(joiner, libc::SYS_futex));
    stage.ready_and_wait()?;
    stage.wrong.holds("it waits still", joined.try_recv().is_err());
    drop(end);
    stage.wrong.gives("it is woken", joined.recv_timeout(Duration::from_secs(30)), true);
    Ok(())
}
