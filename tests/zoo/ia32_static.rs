//! The same 32-bit program without libraries, and without those calls that every stop ends with EINTR, signal(7).

use crate::ia32::become_it;
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    become_it(stage, &["-static", "-DCALM"])
}
