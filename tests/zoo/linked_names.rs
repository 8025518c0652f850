//! A file with two names, opened by the one that was removed since; and one whose name another file has now.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};

use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let (opened, other) = (stage.path("opened"), stage.path("other"));
    fs::write(&opened, "one file")?;
    fs::hard_link(&opened, &other)?;
    let file = OpenOptions::new().read(true).write(true).open(&opened)?;
    fs::remove_file(&opened)?;
    let (renamed, now) = (stage.path("renamed"), stage.path("now"));
    fs::write(&renamed, "renamed")?;
    let moved = OpenOptions::new().read(true).open(&renamed)?;
    fs::rename(&renamed, &now)?;
    fs::write(&renamed, "another file")?;
    stage.keeps(|wrong| {
        let ids = |data: fs::Metadata| (data.dev(), data.ino());
        wrong.equal("the file and its other name", file.metadata().map(ids).ok(), fs::metadata(&other).map(ids).ok());
        wrong.equal("the renamed file", moved.metadata().map(ids).ok(), fs::metadata(&now).map(ids).ok());
        wrong.gives("names", file.metadata().map(|data| data.nlink()), 1);
        wrong.holds("the removed name stays away", !opened.exists());
        wrong.gives("the other file", fs::read_to_string(&renamed), "another file".to_owned());
    })?;
    file.write_all_at(b"ONE", 0)?;
    stage.wrong.gives("what is written goes to the other name", fs::read_to_string(&other), "ONE file".to_owned());
    Ok(())
}
