//! A private mapping of a file: pages changed in memory stay changed, the file stays as it is, untouched pages follow it.

use std::fs::{self, File};
use std::os::fd::AsRawFd;

use crate::memory::{Mapping, PAGE, READ_WRITE};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let path = stage.path("mapped");
    fs::write(&path, vec![7; 8 * PAGE])?;
    let file = File::open(&path)?;
    let mapping = Mapping::new(6 * PAGE, READ_WRITE, libc::MAP_PRIVATE, file.as_raw_fd(), PAGE as i64)?;
    drop(file);
    mapping.write(2 * PAGE, &[9; PAGE]);
    mapping.write(5 * PAGE + 100, &[9; 10]);
    stage.keeps(|wrong| {
        let bytes = mapping.bytes();
        wrong.holds("untouched page", bytes[..2 * PAGE].iter().all(|byte| *byte == 7));
        wrong.holds("changed page", bytes[2 * PAGE..3 * PAGE].iter().all(|byte| *byte == 9));
        wrong.equal(
            "partly changed page",
            &bytes[5 * PAGE + 99..5 * PAGE + 111],
            [7, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 7].as_slice(),
        );
        wrong.gives("the file itself", fs::read(&path), vec![7; 8 * PAGE]);
        wrong.equal("protection", mapping.letters(), "rw-p".to_owned());
    })?;
    // The mapping still belongs to the file: a page never touched follows what is written to it.
    let mut changed = vec![7; 8 * PAGE];
    changed[2 * PAGE] = 200;
    std::os::unix::fs::FileExt::write_all_at(&fs::OpenOptions::new().write(true).open(&path)?, &changed, 0)?;
    stage.wrong.equal("a page never written follows the file", mapping.bytes()[PAGE], 200);
    Ok(())
}
