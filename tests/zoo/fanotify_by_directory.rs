//! A watch that tells of nothing but the directory, FAN_REPORT_DIR_FID: its queue cannot be filled, so that it hears nothing of the sleep.

use std::fs;

use crate::fanotify::{events, group, mark, marks};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let folder = stage.path("folder");
    fs::create_dir(&folder)?;
    let group = group(libc::FAN_REPORT_DIR_FID)?;
    mark(&group, libc::FAN_MARK_ADD, libc::FAN_CREATE, &folder)?;
    let before = marks(&group);
    stage.keeps(|wrong| wrong.equal("marks", marks(&group), before.clone()))?;
    fs::write(folder.join("new"), "")?;
    let found: Vec<u64> = events(&group)?.into_iter().map(|(mask, _)| mask).collect();
    stage.wrong.equal("events", found, vec![libc::FAN_CREATE]);
    Ok(())
}
