//! The working directory, with a strange name, and one of a child's own.

use std::env;
use std::fs;

use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let (own, child_own) = (stage.path("a\n directory"), stage.path("another"));
    fs::create_dir(&own)?;
    fs::create_dir(&child_own)?;
    let child = stage.child(|stage| {
        env::set_current_dir(&child_own)?;
        stage.keeps(|wrong| wrong.gives("the child's directory", env::current_dir(), child_own.clone()))
    })?;
    env::set_current_dir(&own)?;
    stage.keeps(|wrong| wrong.gives("the directory", env::current_dir(), own.clone()))?;
    fs::write("relative", "")?;
    stage.wrong.holds("a relative path leads there", own.join("relative").exists());
    stage.join(child);
    Ok(())
}
