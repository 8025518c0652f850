//! A working directory that has been deleted.

use std::env;
use std::fs;

use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let path = stage.path("directory");
    fs::create_dir(&path)?;
    env::set_current_dir(&path)?;
    fs::remove_dir(&path)?;
    stage.keeps(|wrong| {
        wrong.equal(
            "the directory",
            env::current_dir().err().and_then(|error| error.raw_os_error()),
            Some(libc::ENOENT),
        );
        wrong.holds("nothing can be made in it", fs::write("new", "").is_err());
        wrong.holds("it has not come back", !path.exists());
    })
}
