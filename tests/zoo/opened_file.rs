//! A large file that is open and locked, for those who change it while the group sleeps.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom};

use crate::stage::{Held, Stage};

/// More than the ends that are remembered of a file.
const SIZE: usize = 200_000;

pub fn hold(stage: &mut Stage) -> Held {
    let path = stage.path("file");
    let content: Vec<u8> = (0..SIZE).map(|at| (at * 7 % 251) as u8).collect();
    fs::write(&path, &content)?;
    let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
    file.lock()?;
    file.seek(SeekFrom::Start(1000))?;
    stage.keeps(|wrong| {
        wrong.gives("position", file.stream_position(), 1000);
        let other = fs::File::open(&path).map(|other| other.try_lock_shared().is_err());
        wrong.gives("the lock", other, true);
    })?;
    let mut rest = vec![0; SIZE - 1000];
    file.read_exact(&mut rest)?;
    stage.wrong.holds("the rest of it", rest == content[1000..]);
    Ok(())
}
