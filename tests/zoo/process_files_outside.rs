//! A file that tells of a process outside the group: that it would be another one's by then must be announced by name.

use std::fs::File;
use std::io::Read;

use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let mut init = File::open("/proc/1/stat")?;
    stage.ready_and_wait()?;
    let mut text = String::new();
    let read = init.read_to_string(&mut text).map(|_| text.starts_with("1 ("));
    stage.wrong.gives("it tells of pid 1", read, true);
    Ok(())
}
