//! A virtual console, which is no pseudo-terminal: the screen and the keyboard themselves.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;

use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/tty1");
    let Ok(console) = opened else { return cannot("there is no virtual console") };
    stage.keeps(|wrong| wrong.holds("it is a terminal", nix::unistd::isatty(&console) == Ok(true)))
}
