//! A shared mapping of a file: what is written through it is in the file, and the other way round.

use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use crate::memory::{Mapping, PAGE, READ_WRITE};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let path = stage.path("mapped");
    fs::write(&path, vec![1; 4 * PAGE])?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let mapping = Mapping::new(4 * PAGE, READ_WRITE, libc::MAP_SHARED, file.as_raw_fd(), 0)?;
    mapping.write(PAGE, b"written before");
    stage.keeps(|wrong| {
        wrong.equal("what was written", &mapping.bytes()[PAGE..PAGE + 14], b"written before".as_slice());
        wrong.equal("protection", mapping.letters(), "rw-s".to_owned());
    })?;
    mapping.write(2 * PAGE, b"through the mapping");
    file.write_all_at(b"through the file", 3 * PAGE as u64)?;
    let found = fs::read(&path)?;
    stage.wrong.equal(
        "the file follows the mapping",
        &found[2 * PAGE..2 * PAGE + 19],
        b"through the mapping".as_slice(),
    );
    stage.wrong.equal(
        "the mapping follows the file",
        &mapping.bytes()[3 * PAGE..3 * PAGE + 16],
        b"through the file".as_slice(),
    );
    Ok(())
}
