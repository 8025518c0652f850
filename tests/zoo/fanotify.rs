//! Watches over files and a directory as an ordinary user may have them, fanotify(7): the marks with their masks, what they ignore, and the
//! word that something was missed, for nobody has watched while the group slept.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use crate::descriptors::{info, owned, read, would_wait};
use crate::inotify::start_time;
use crate::kernel::{at, call};
use crate::stage::{Held, Stage, Trouble, cannot};

/// The events that wait: for what, and the descriptor of the file, which is closed.
pub fn events(fd: &impl AsRawFd) -> Result<Vec<(u64, String)>, Trouble> {
    let mut found = Vec::new();
    loop {
        let bytes = read(fd, 4096);
        if would_wait(&bytes) {
            return Ok(found);
        }
        let bytes = bytes?;
        let mut rest = bytes.as_slice();
        while rest.len() >= 24 {
            let number = |at: usize, size: usize| {
                rest[at..at + size].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
            };
            let opened = number(16, 4) as u32 as i32;
            let path = (opened >= 0).then(|| fs::read_link(format!("/proc/self/fd/{opened}"))).transpose()?;
            if opened >= 0 {
                drop(owned(opened.into()));
            }
            found.push((number(8, 8), path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()));
            rest = &rest[number(0, 4) as usize..];
        }
    }
}

/// A group, fanotify_init(2).
pub fn group(flags: u32) -> Result<OwnedFd, Trouble> {
    match call(libc::SYS_fanotify_init, &[(flags | libc::FAN_NONBLOCK) as usize, libc::O_RDONLY as usize]) {
        Ok(fd) => Ok(owned(fd)),
        Err(error) => cannot(format!("fanotify_init: {error}")),
    }
}

/// fanotify_mark(2).
pub fn mark(group: &OwnedFd, flags: u32, mask: u64, path: &Path) -> Result<(), Trouble> {
    let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
    let here = libc::AT_FDCWD as usize;
    let path = at(path.as_bytes_with_nul());
    call(libc::SYS_fanotify_mark, &[group.as_raw_fd() as usize, flags as usize, mask as usize, here, path])?;
    Ok(())
}

/// The lines of the marks, in an order of their own, without what is not the same in each run.
pub fn marks(group: &OwnedFd) -> Vec<String> {
    let lines = info(group);
    let lines = lines.lines().filter(|line| line.starts_with("fanotify ") && line.contains(" mask:"));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}

pub fn hold(stage: &mut Stage) -> Held {
    let (folder, file, still) = (stage.path("folder"), stage.path("file\nwith a line feed"), stage.path("still"));
    fs::create_dir(&folder)?;
    for file in [&file, &still] {
        fs::write(file, "")?;
    }
    let group = group(libc::FAN_REPORT_FID)?;
    let in_folder = libc::FAN_CREATE | libc::FAN_DELETE | libc::FAN_ONDIR | libc::FAN_EVENT_ON_CHILD;
    mark(&group, libc::FAN_MARK_ADD | libc::FAN_MARK_ONLYDIR, in_folder, &folder)?;
    mark(&group, libc::FAN_MARK_ADD, libc::FAN_MODIFY | libc::FAN_ATTRIB, &file)?;
    let ignore = libc::FAN_MARK_ADD | libc::FAN_MARK_IGNORED_MASK | libc::FAN_MARK_IGNORED_SURV_MODIFY;
    mark(&group, ignore, libc::FAN_ATTRIB, &file)?;
    mark(&group, libc::FAN_MARK_ADD | libc::FAN_MARK_EVICTABLE, libc::FAN_MODIFY, &still)?;
    let (before, born) = (marks(&group), start_time());
    stage.wrong.equal("marks", before.len(), 3);
    stage.keeps(|wrong| {
        wrong.holds("it tells of files by their handles", info(&group).contains("fanotify flags:202 "));
        wrong.equal("marks", marks(&group), before.clone());
    })?;
    let missed = if start_time() == born { Vec::new() } else { vec![(libc::FAN_Q_OVERFLOW, String::new())] };
    stage.wrong.equal("it says after a sleep alone that something was missed", events(&group)?, missed);
    fs::create_dir(folder.join("new"))?;
    fs::set_permissions(&file, fs::metadata(&file)?.permissions())?;
    fs::write(&file, "new")?;
    let found: Vec<u64> = events(&group)?.into_iter().map(|(mask, _)| mask).collect();
    stage.wrong.equal("events", found, vec![libc::FAN_CREATE | libc::FAN_ONDIR, libc::FAN_MODIFY]);
    Ok(())
}
