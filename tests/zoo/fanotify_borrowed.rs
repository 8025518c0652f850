//! A watch that was made as root and is held by somebody else now, which is refused: he could not make it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::fanotify::group;
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let watch = group(libc::FAN_CLASS_NOTIF)?;
    // Who is started inherits it.
    let mut borrower = Command::new("sleep").arg("1000").uid(1000).gid(1000).spawn()?;
    drop(watch);
    let link = format!("/proc/{}/fd/3", borrower.id());
    let kept = stage.keeps(|wrong| {
        let found = std::fs::read_link(&link).unwrap_or_default();
        wrong.equal("what it holds", found.to_string_lossy().into_owned(), "anon_inode:[fanotify]".to_owned());
    });
    borrower.kill()?;
    borrower.wait()?;
    kept
}
