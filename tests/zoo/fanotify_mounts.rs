//! Watches over a mount and a whole filesystem, fanotify(7), as root alone may have them: one that opens the files it tells of, and one that
//! tells of them by their handles.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::fanotify::{events, group, mark, marks};
use crate::inotify::start_time;
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    // Nobody else runs programs from there.
    let place = Path::new("/dev/shm");
    let program = place.join(format!("dormouse-zoo-{}", std::process::id()));
    let (by_mount, by_filesystem) = (
        group(libc::FAN_CLASS_CONTENT | libc::FAN_UNLIMITED_MARKS)?,
        group(libc::FAN_REPORT_FID | libc::FAN_REPORT_PIDFD)?,
    );
    mark(&by_mount, libc::FAN_MARK_ADD | libc::FAN_MARK_MOUNT, libc::FAN_OPEN_EXEC, place)?;
    mark(&by_filesystem, libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM, libc::FAN_OPEN_EXEC, place)?;
    let (before, born) = ([marks(&by_mount), marks(&by_filesystem)], start_time());
    stage.wrong.holds("a mount is marked", before[0].concat().starts_with("fanotify mnt_id:"));
    stage.wrong.holds("a filesystem is marked", before[1].concat().starts_with("fanotify sdev:"));
    stage.keeps(|wrong| wrong.equal("marks", [marks(&by_mount), marks(&by_filesystem)], before.clone()))?;
    if start_time() == born {
        // One that has not slept runs no program: it may stand beside one that does.
        return Ok(());
    }
    for group in [&by_mount, &by_filesystem] {
        let missed = vec![(libc::FAN_Q_OVERFLOW, String::new())];
        stage.wrong.equal("it says that something was missed", events(group)?, missed);
    }
    fs::copy("/bin/true", &program)?;
    let ran = Command::new(&program).status();
    fs::remove_file(&program)?;
    stage.wrong.holds("the program runs", ran?.success());
    let expected = format!("{} (deleted)", program.display());
    stage.wrong.equal("an event of the mount", events(&by_mount)?, vec![(libc::FAN_OPEN_EXEC, expected)]);
    stage.wrong.equal(
        "an event of the filesystem",
        events(&by_filesystem)?,
        vec![(libc::FAN_OPEN_EXEC, String::new())],
    );
    Ok(())
}
