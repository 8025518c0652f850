//! A device that the engine knows nothing about, here the kernel's log: it must be refused by name, whatever it is.

use std::fs::OpenOptions;
use std::os::unix::fs::FileTypeExt;

use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    let device = match OpenOptions::new().read(true).open("/dev/kmsg") {
        Ok(device) => device,
        Err(error) => return cannot(format!("/dev/kmsg: {error}")),
    };
    stage.keeps(|wrong| {
        let found = device.metadata().map(|found| found.file_type().is_char_device());
        wrong.gives("it is a device", found, true);
    })
}
