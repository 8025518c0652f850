//! Leases on files (F_SETLEASE): who opens one in their way is held off, and the holder is told by the signal it has chosen.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::descriptors::fcntl;
use crate::kernel::{at, call, exit, fork, into, wait_for};
use crate::signals::{bit, block};
use crate::stage::{Held, Stage};

/// `linux/fcntl.h`; the libc crate lacks them.
const F_SETSIG: i32 = 10;
const F_GETSIG: i32 = 11;

/// What another process finds that opens the file and does not wait: an error, or 0.
fn opened_by_another(path: &Path, flags: i32) -> std::io::Result<i32> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let pid = fork()?;
    if pid == 0 {
        let flags = (flags | libc::O_NONBLOCK) as usize;
        let opened = call(libc::SYS_open, &[at(path.to_bytes_with_nul()), flags]);
        exit(opened.map_or_else(|error| error.raw_os_error().unwrap_or(255), |_| 0));
    }
    match wait_for(pid)? {
        crate::kernel::Ended::Code(code) => Ok(code),
        crate::kernel::Ended::Signal(signal) => Ok(-signal),
    }
}

/// The descriptor that the signal tells of.
fn told(signal: i32) -> std::io::Result<i32> {
    let mut info = [0_i32; 32];
    call(libc::SYS_rt_sigtimedwait, &[at(&bit(signal)), into(&mut info), at(&[5_i64, 0]), 8])?;
    Ok(info[6])
}

pub fn hold(stage: &mut Stage) -> Held {
    let signals = [libc::SIGRTMIN() + 7, libc::SIGRTMIN() + 8];
    block(bit(signals[0]) | bit(signals[1]))?;
    let paths = [stage.path("read"), stage.path("written")];
    paths.iter().try_for_each(|path| fs::write(path, "leased"))?;
    let files = [File::open(&paths[0])?, OpenOptions::new().read(true).write(true).open(&paths[1])?];
    let kinds = [libc::F_RDLCK, libc::F_WRLCK];
    for ((file, kind), signal) in files.iter().zip(kinds).zip(signals) {
        fcntl(file, F_SETSIG, signal)?;
        fcntl(file, libc::F_SETLEASE, kind)?;
    }
    let own = std::process::id() as i32;
    stage.keeps(|wrong| {
        for ((file, kind), signal) in files.iter().zip(kinds).zip(signals) {
            wrong.gives("the lease", fcntl(file, libc::F_GETLEASE, 0), kind);
            wrong.gives("its signal", fcntl(file, F_GETSIG, 0), signal);
            wrong.gives("who is told", fcntl(file, libc::F_GETOWN, 0), own);
        }
    })?;
    // A lease to read lets others read.
    stage.wrong.gives("read by another", opened_by_another(&paths[0], libc::O_RDONLY), 0);
    for (((path, file), signal), flags) in paths.iter().zip(&files).zip(signals).zip([libc::O_WRONLY, libc::O_RDONLY]) {
        stage.wrong.gives("opened by another", opened_by_another(path, flags), libc::EWOULDBLOCK);
        stage.wrong.gives("and told", told(signal), file.as_raw_fd());
        stage.wrong.gives("given up", fcntl(file, libc::F_SETLEASE, libc::F_UNLCK), 0);
        stage.wrong.gives("then opened by another", opened_by_another(path, flags), 0);
    }
    Ok(())
}
