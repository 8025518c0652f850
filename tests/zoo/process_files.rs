//! Files and directories below `/proc/PID`: of the process itself, of its child and of a thread, some read to the middle, one
//! to be written, one that two descriptors share.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};

use crate::descriptors::position;
use crate::kernel::tid;
use crate::stage::{Held, Stage};

fn rest(file: &mut File) -> std::io::Result<String> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

pub fn hold(stage: &mut Stage) -> Held {
    let child = stage.child(Stage::ready_and_wait)?;
    let whole = fs::read_to_string("/proc/self/maps")?;
    // To the end of the third line.
    let read: usize = whole.split_inclusive('\n').take(3).map(str::len).sum();
    let mut maps = File::open("/proc/self/maps")?;
    maps.read_exact(&mut vec![0; read])?;
    let mut status = File::open(format!("/proc/{}/status", child.pid))?;
    let mut shared = status.try_clone()?;
    shared.seek(SeekFrom::Start(6))?;
    let mut thread = File::open(format!("/proc/self/task/{}/comm", tid()))?;
    let mut name = OpenOptions::new().write(true).open("/proc/self/comm")?;
    let folder = File::open("/proc/self/fdinfo")?;
    stage.keeps(|wrong| {
        wrong.gives("the position in its mappings", position(&maps), read as i64);
        wrong.gives("the position in its child's status", position(&status), 6);
        wrong.gives("the position in its name", position(&name), 0);
        let own = fs::read_dir(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&folder)));
        wrong.gives("its own folder", own.map(|entries| entries.count() > 5), true);
    })?;
    let now = fs::read_to_string("/proc/self/maps")?;
    let lines: Vec<&str> = now.lines().collect();
    let text = rest(&mut maps)?;
    let unknown = text.lines().find(|line| !lines.contains(line));
    stage.wrong.equal("a line of the rest of its mappings that there is not", unknown, None);
    stage.wrong.holds("all of the rest", text.lines().count() + 4 > lines.len());
    stage.wrong.holds("its child's status", rest(&mut status)?.contains(&format!("\nPid:\t{}\n", child.pid)));
    stage.wrong.gives("the other descriptor is at the end, too", rest(&mut shared), String::new());
    name.write_all(b"renamed")?;
    stage.wrong.gives("its new name", rest(&mut thread), "renamed\n".to_owned());
    stage.join(child);
    Ok(())
}
