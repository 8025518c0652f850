//! A thread that has gone into a namespace by itself, which is refused.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::mpsc::channel;

use crate::stage::{Held, Stage, Trouble};

pub fn hold(stage: &mut Stage) -> Held {
    let (tell, told) = channel();
    let (keep, kept) = channel::<()>();
    let thread = std::thread::spawn(move || -> Result<(), Trouble> {
        // SAFETY: takes a number only.
        let gone = unsafe { libc::unshare(libc::CLONE_NEWUTS) };
        tell.send((gone, fs::read_link("/proc/thread-self/ns/uts")?))?;
        let _ = kept.recv();
        Ok(())
    });
    let (gone, away) = told.recv()?;
    stage.wrong.equal("unshare", gone, 0);
    stage.keeps(|wrong| {
        let home = fs::read_link("/proc/self/ns/uts").unwrap_or_default();
        wrong.holds("it lives elsewhere", away.as_os_str().as_bytes() != home.as_os_str().as_bytes());
    })?;
    drop(keep);
    stage.wrong.holds("it ends", thread.join().is_ok_and(|done| done.is_ok()));
    Ok(())
}
