//! Mappings of files that have no name any more: private and shared, one whose name another file has now.

use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;

use crate::memory::{Mapping, PAGE, READ_WRITE};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let map = |name: &str, fill: u8, kind: i32| -> Result<Mapping, crate::stage::Trouble> {
        let path = stage.path(name);
        fs::write(&path, vec![fill; 4 * PAGE])?;
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let mapping = Mapping::new(4 * PAGE, READ_WRITE, kind, file.as_raw_fd(), 0)?;
        fs::remove_file(&path)?;
        Ok(mapping)
    };
    let private = map("private", 1, libc::MAP_PRIVATE)?;
    private.write(PAGE, &[9; 100]);
    let shared = map("shared", 2, libc::MAP_SHARED)?;
    shared.write(PAGE, &[9; 100]);
    let replaced = map("replaced", 3, libc::MAP_SHARED)?;
    fs::write(stage.path("replaced"), "another file")?;
    let other = stage.path("replaced");
    stage.keeps(|wrong| {
        for (name, mapping, fill) in [("private", private, 1), ("shared", shared, 2)] {
            let bytes = mapping.bytes();
            wrong.holds(&format!("{name}: untouched pages"), bytes[2 * PAGE..].iter().all(|byte| *byte == fill));
            wrong.holds(&format!("{name}: written page"), bytes[PAGE..PAGE + 100].iter().all(|byte| *byte == 9));
            let named = mapping.smaps().first().is_some_and(|line| line.ends_with(&format!("/{name} (deleted)")));
            wrong.holds(&format!("{name}: the file is deleted"), named);
            wrong.holds(&format!("{name}: no such file"), !other.with_file_name(name).exists());
        }
        wrong.holds("replaced: the old content", replaced.bytes().iter().all(|byte| *byte == 3));
        wrong.gives("replaced: the new file", fs::read_to_string(&other), "another file".to_owned());
    })
}
