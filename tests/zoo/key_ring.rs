//! A key ring of the process's own, keyrings(7): it is announced that its keys are lost.

use crate::kernel::{at, call};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    const PROCESS: i32 = -2;
    let arguments =
        [at(c"user".to_bytes_with_nul()), at(c"dormouse".to_bytes_with_nul()), at(b"secret"), 6, PROCESS as usize];
    if let Err(error) = call(libc::SYS_add_key, &arguments) {
        return cannot(format!("add_key: {error}"));
    }
    stage.ready_and_wait()
}
