//! Watches over a directory and over files: their numbers, with one missing between them, their masks, and the word that
//! something was missed, for nobody has watched while the group slept.

use std::fs;

use crate::descriptors::{info, owned, read, would_wait};
use crate::kernel::{at, call};
use crate::stage::{Held, Stage, Trouble};

/// The numbers and masks of the events that wait.
fn events(fd: &impl std::os::fd::AsRawFd) -> Result<Vec<(i32, u32)>, Trouble> {
    let mut found = Vec::new();
    loop {
        let bytes = read(fd, 4096);
        if would_wait(&bytes) {
            return Ok(found);
        }
        let bytes = bytes?;
        let mut rest = bytes.as_slice();
        while rest.len() >= 16 {
            let word = |at: usize| rest[at..at + 4].iter().rev().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
            found.push((word(0) as i32, word(4)));
            rest = &rest[16 + word(12) as usize..];
        }
    }
}

/// When this process was made, proc_pid_stat(5): another time if it has slept in a file.
pub fn start_time() -> Option<String> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(19).map(str::to_owned)
}

pub fn hold(stage: &mut Stage) -> Held {
    let (folder, file) = (stage.path("folder"), stage.path("file\nwith a line feed"));
    fs::create_dir(&folder)?;
    fs::write(&file, "")?;
    let watcher = owned(call(libc::SYS_inotify_init1, &[libc::IN_NONBLOCK as usize])?);
    let raw = std::os::fd::AsRawFd::as_raw_fd(&watcher) as usize;
    let watch = |path: &std::path::Path, mask: u32| -> Result<i64, Trouble> {
        let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
        Ok(call(libc::SYS_inotify_add_watch, &[raw, at(path.as_bytes_with_nul()), mask as usize])?)
    };
    let first = watch(&folder, libc::IN_CREATE | libc::IN_DELETE | libc::IN_ONLYDIR | libc::IN_EXCL_UNLINK)?;
    let gone = watch(&stage.path(""), libc::IN_MOVE)?;
    let last = watch(&file, libc::IN_MODIFY | libc::IN_ONESHOT)?;
    call(libc::SYS_inotify_rm_watch, &[raw, gone as usize])?;
    events(&watcher)?;
    let born = start_time();
    stage.keeps(|wrong| {
        let lines = info(&watcher);
        wrong.equal("watches", lines.lines().filter(|line| line.starts_with("inotify ")).count(), 2);
        for number in [first, last] {
            wrong.holds("the number of a watch", lines.contains(&format!("inotify wd:{number:x} ")));
        }
    })?;
    let missed = events(&watcher)?;
    stage.wrong.holds(
        "what waits is the word that something was missed",
        missed.iter().all(|event| *event == (-1, libc::IN_Q_OVERFLOW)),
    );
    stage.wrong.equal("it says so after a sleep alone", missed.len(), usize::from(start_time() != born));
    fs::write(folder.join("new"), "")?;
    fs::write(&file, "new")?;
    let found = events(&watcher)?;
    let expected =
        vec![(first as i32, libc::IN_CREATE), (last as i32, libc::IN_MODIFY), (last as i32, libc::IN_IGNORED)];
    stage.wrong.equal("events", found, expected);
    Ok(())
}
