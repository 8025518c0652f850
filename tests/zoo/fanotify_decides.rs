//! Whoever decides whether others may open a file, fanotify(7): the engine must not even stop it, and must say so by name.

use std::fs;

use crate::fanotify::{group, mark, marks};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let file = stage.path("guarded");
    fs::write(&file, "")?;
    let group = group(libc::FAN_CLASS_CONTENT)?;
    mark(&group, libc::FAN_MARK_ADD, libc::FAN_OPEN_PERM, &file)?;
    stage.keeps(|wrong| wrong.holds("it guards", marks(&group).concat().contains(" mask:10000 ")))
}
