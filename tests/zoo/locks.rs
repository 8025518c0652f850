//! Locks on files: of an open file (flock), of a process (POSIX) and of an open file with ranges (OFD), read and write.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;

use crate::kernel::{call, into};
use crate::stage::{Held, Stage};

const READ: i16 = libc::F_RDLCK as i16;
const WRITE: i16 = libc::F_WRLCK as i16;

/// A `struct flock` for a range; a length of 0 reaches to the end.
fn range(kind: i16, start: i64, length: i64) -> libc::flock {
    libc::flock { l_type: kind, l_whence: 0, l_start: start, l_len: length, l_pid: 0 }
}

fn lock(file: &File, command: i32, mut range: libc::flock) -> std::io::Result<libc::flock> {
    call(libc::SYS_fcntl, &[file.as_raw_fd() as usize, command as usize, into(&mut range)]).map(|_| range)
}

/// What stands in the way of a lock on this range: its kind, start, length and process.
fn holder(file: &File, start: i64, length: i64) -> (i32, i64, i64, i32) {
    lock(file, libc::F_GETLK, range(WRITE, start, length))
        .map_or((-1, 0, 0, 0), |found| (i32::from(found.l_type), found.l_start, found.l_len, found.l_pid))
}

pub fn hold(stage: &mut Stage) -> Held {
    let open =
        |name: &str| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(stage.path(name));
    let (posix, ofd, whole, shared) = (open("posix")?, open("ofd")?, open("whole")?, open("shared")?);
    let others = [open("posix")?, open("ofd")?, open("whole")?, open("shared")?];
    lock(&posix, libc::F_SETLK, range(WRITE, 10, 20))?;
    lock(&posix, libc::F_SETLK, range(READ, 100, 0))?;
    lock(&ofd, libc::F_OFD_SETLK, range(READ, 5, 7))?;
    lock(&ofd, libc::F_OFD_SETLK, range(WRITE, 50, 1))?;
    whole.lock()?;
    shared.lock_shared()?;
    let pid = std::process::id() as i32;
    let child = stage.child(|stage| {
        stage.keeps(|wrong| {
            let [posix, ofd, whole, shared] = &others;
            let (read, write) = (i32::from(READ), i32::from(WRITE));
            wrong.equal("POSIX write lock", holder(posix, 0, 50), (write, 10, 20, pid));
            wrong.equal("POSIX read lock", holder(posix, 90, 50), (read, 100, 0, pid));
            wrong.equal("OFD read lock", holder(ofd, 0, 30), (read, 5, 7, -1));
            wrong.equal("OFD write lock", holder(ofd, 40, 20), (write, 50, 1, -1));
            wrong.holds("flock", whole.try_lock_shared().is_err());
            wrong.holds("shared flock lets in readers", shared.try_lock_shared().is_ok());
            wrong.holds("shared flock keeps writers out", shared.try_lock().is_err());
            // The attempt above has dropped and not regained the shared lock, so it is given back at last.
            let _ = shared.unlock();
        })
    })?;
    stage.ready_and_wait()?;
    stage.join(child);
    whole.unlock()?;
    stage.wrong.holds("flock is given back", others[2].try_lock().is_ok());
    lock(&ofd, libc::F_OFD_SETLK, range(libc::F_UNLCK as i16, 0, 0))?;
    stage.wrong.equal("OFD locks are given back", holder(&others[1], 0, 0).0, libc::F_UNLCK);
    Ok(())
}
