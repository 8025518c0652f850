//! An open directory that has been read half-way: what is left comes, and nothing twice.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsRawFd;

use crate::kernel::{call, into};
use crate::stage::{Held, Stage, Trouble};

/// The names that one getdents64(2) gives.
fn some(directory: &File) -> Result<Vec<String>, Trouble> {
    let mut buffer = [0_u8; 512];
    let length = call(libc::SYS_getdents64, &[directory.as_raw_fd() as usize, into(&mut buffer), 512])? as usize;
    let mut names = Vec::new();
    let mut at = 0;
    while at < length {
        let size = usize::from(u16::from_ne_bytes([buffer[at + 16], buffer[at + 17]]));
        let name = &buffer[at + 19..at + size];
        names.push(String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned());
        at += size;
    }
    Ok(names)
}

pub fn hold(stage: &mut Stage) -> Held {
    let path = stage.path("directory");
    fs::create_dir(&path)?;
    let mut expected = BTreeSet::from([".".to_owned(), "..".to_owned()]);
    for number in 0..100 {
        fs::write(path.join(format!("file {number}")), "")?;
        expected.insert(format!("file {number}"));
    }
    let directory = File::open(&path)?;
    let mut names = some(&directory)?;
    stage.wrong.holds("it has been read half-way", !names.is_empty() && names.len() < 50);
    stage.ready_and_wait()?;
    loop {
        let more = some(&directory)?;
        if more.is_empty() {
            break;
        }
        names.extend(more);
    }
    stage.wrong.equal("how many names", names.len(), expected.len());
    stage.wrong.equal("the names", names.into_iter().collect(), expected);
    Ok(())
}
