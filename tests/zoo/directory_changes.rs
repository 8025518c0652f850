//! Word of changes in a directory (F_NOTIFY, dnotify), of which the kernel shows nothing: the engine refuses it by name.

use std::fs::{self, File};

use crate::descriptors::fcntl;
use crate::kernel::{at, call};
use crate::signals::{bit, block};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    const DN_CREATE: u32 = 4;
    const DN_MULTISHOT: u32 = 0x8000_0000;
    block(bit(libc::SIGIO))?;
    let folder = stage.path("watched");
    fs::create_dir(&folder)?;
    let directory = File::open(&folder)?;
    if let Err(error) = fcntl(&directory, libc::F_NOTIFY, (DN_CREATE | DN_MULTISHOT) as i32) {
        return cannot(format!("no F_NOTIFY: {error}"));
    }
    stage.ready_and_wait()?;
    fs::write(folder.join("new"), "")?;
    let told = call(libc::SYS_rt_sigtimedwait, &[at(&bit(libc::SIGIO)), 0, at(&[5_i64, 0]), 8]);
    stage.wrong.gives("it is told", told, i64::from(libc::SIGIO));
    Ok(())
}
