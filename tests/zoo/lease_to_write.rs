//! A lease to write on a file that is open for writing only and that a child has by inheritance: the one open file description has
//! it, and SIGIO is what tells of it.

use std::fs::OpenOptions;

use crate::descriptors::fcntl;
use crate::signals::{bit, block};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    block(bit(libc::SIGIO))?;
    let path = stage.path("file");
    let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    fcntl(&file, libc::F_SETLEASE, libc::F_WRLCK)?;
    let child = stage.child(|stage| {
        stage.keeps(|wrong| wrong.gives("the child's", fcntl(&file, libc::F_GETLEASE, 0), libc::F_WRLCK))
    })?;
    let own = std::process::id() as i32;
    stage.keeps(|wrong| {
        wrong.gives("the lease", fcntl(&file, libc::F_GETLEASE, 0), libc::F_WRLCK);
        wrong.gives("who is told", fcntl(&file, libc::F_GETOWN, 0), own);
    })?;
    stage.join(child);
    stage.wrong.gives("given up", fcntl(&file, libc::F_SETLEASE, libc::F_UNLCK), 0);
    stage.wrong.gives("there is none", fcntl(&file, libc::F_GETLEASE, 0), libc::F_UNLCK);
    Ok(())
}
