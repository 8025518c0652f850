//! Registrations for membarrier(2): a barrier may be asked for only by a process that has registered.

use crate::kernel::call;
use crate::stage::{Held, Stage, cannot};

const REGISTER: [usize; 3] = [1 << 4, 1 << 6, 1 << 8];
const BARRIERS: [usize; 3] = [1 << 3, 1 << 5, 1 << 7];

pub fn hold(stage: &mut Stage) -> Held {
    for command in REGISTER {
        if let Err(error) = call(libc::SYS_membarrier, &[command, 0, 0]) {
            return cannot(format!("membarrier: {error}"));
        }
    }
    stage.keeps(|wrong| {
        for command in BARRIERS {
            wrong.gives(&format!("barrier {command}"), call(libc::SYS_membarrier, &[command, 0, 0]), 0);
        }
    })
}
