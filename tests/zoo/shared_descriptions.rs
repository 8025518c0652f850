//! Open file descriptions that several descriptors share, by dup and by fork, beside ones that look alike and are not shared.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom};

use crate::descriptors::{fcntl, position, read};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let path = stage.path("file");
    fs::write(&path, "0123456789")?;
    let mut file = File::open(&path)?;
    let copy = file.try_clone()?;
    let mut alike = File::open(&path)?;
    let flag = stage.path("parent has moved");
    let child = stage.child(|stage| {
        let mut own = File::open(stage.path("file"))?;
        own.seek(SeekFrom::Start(9))?;
        stage.ready_and_wait()?;
        stage.wrong.holds("the parent moves", crate::kernel::until(|| flag.exists()));
        stage.wrong.gives("the child sees the position move", position(&file), 5);
        stage.wrong.gives("the child's look-alike does not move", position(&own), 9);
        stage.wrong.gives("the child reads on", read(&copy, 2), b"56".to_vec());
        Ok(())
    })?;
    alike.seek(SeekFrom::Start(1))?;
    stage.keeps(|wrong| {
        wrong.gives("position", position(&copy), 0);
        wrong.gives("position of the look-alike", position(&alike), 1);
    })?;
    file.seek(SeekFrom::Start(5))?;
    fcntl(&file, libc::F_SETFL, libc::O_APPEND)?;
    stage.wrong.gives(
        "flags are shared",
        fcntl(&copy, libc::F_GETFL, 0).map(|flags| flags & libc::O_APPEND),
        libc::O_APPEND,
    );
    stage.wrong.gives(
        "flags of the look-alike",
        fcntl(&alike, libc::F_GETFL, 0).map(|flags| flags & libc::O_APPEND),
        0,
    );
    fs::write(stage.path("parent has moved"), "")?;
    stage.join(child);
    stage.wrong.gives("the child has moved the position", position(&file), 7);
    Ok(())
}
