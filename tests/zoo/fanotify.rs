//! A watch over whole filesystems, fanotify(7): the engine cannot hold it, and must say so by name.

use crate::descriptors::{info, owned};
use crate::kernel::call;
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    /// FAN_REPORT_FID: what an ordinary user may ask for.
    const REPORT_FILE_ID: usize = 0x200;
    let watch = match call(libc::SYS_fanotify_init, &[REPORT_FILE_ID, libc::O_RDONLY as usize]) {
        Ok(fd) => owned(fd),
        Err(error) => return cannot(format!("fanotify_init: {error}")),
    };
    stage.keeps(|wrong| wrong.holds("it watches", info(&watch).contains("fanotify flags:200")))
}
