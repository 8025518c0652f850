//! A thread with a table of descriptors of its own, and one with a working directory of its own, unshare(2): both are refused.

use std::sync::mpsc::channel;

use crate::stage::{Held, Stage, Trouble};

fn apart(stage: &mut Stage, flag: i32) -> Held {
    let (tell, told) = channel();
    let (keep, kept) = channel::<()>();
    let thread = std::thread::spawn(move || -> Result<(), Trouble> {
        // SAFETY: takes a number only.
        tell.send(unsafe { libc::unshare(flag) })?;
        let _ = kept.recv();
        Ok(())
    });
    let gone = told.recv()?;
    stage.wrong.equal("unshare", gone, 0);
    stage.keeps(|wrong| {
        wrong.holds("the thread is there", std::fs::read_dir("/proc/self/task").is_ok_and(|all| all.count() > 1));
    })?;
    drop(keep);
    stage.wrong.holds("it ends", thread.join().is_ok_and(|done| done.is_ok()));
    Ok(())
}

pub fn hold(stage: &mut Stage) -> Held {
    apart(stage, libc::CLONE_FILES)
}

pub fn hold_place(stage: &mut Stage) -> Held {
    apart(stage, libc::CLONE_FS)
}
