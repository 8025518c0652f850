//! Whoever decides whether others may open a file, by a thread with a table of descriptors of its own, fanotify(7), unshare(2): the engine
//! must not even stop it.

use std::sync::mpsc::channel;

use crate::fanotify::{group, mark};
use crate::stage::{Held, Stage, Trouble};

pub fn hold(stage: &mut Stage) -> Held {
    let guarded = stage.path("guarded");
    std::fs::write(&guarded, "")?;
    let (tell, told) = channel();
    let (keep, kept) = channel::<()>();
    let thread = std::thread::spawn(move || -> Result<(), Trouble> {
        // SAFETY: takes a number only.
        let gone = unsafe { libc::unshare(libc::CLONE_FILES) };
        let group = group(libc::FAN_CLASS_CONTENT)?;
        mark(&group, libc::FAN_MARK_ADD, libc::FAN_OPEN_PERM, &guarded)?;
        tell.send(gone)?;
        let _ = kept.recv();
        Ok(())
    });
    let gone = told.recv()?;
    stage.wrong.equal("unshare", gone, 0);
    stage.keeps(|_| {})?;
    drop(keep);
    stage.wrong.holds("it ends", thread.join().is_ok_and(|done| done.is_ok()));
    Ok(())
}
