//! A segment of the process's own (modify_ldt): the engine cannot give it back, and must say so by name.

use crate::kernel::{call, into};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    // `struct user_desc`: entry 0, base, limit, and flags of a 32-bit data segment that is usable.
    let mut segment = [0_u32, 0x1000, 0xf, 1 | 1 << 6];
    if let Err(error) = call(libc::SYS_modify_ldt, &[0x11, into(&mut segment), 16]) {
        return cannot(format!("modify_ldt: {error}"));
    }
    stage.keeps(|wrong| {
        let mut bytes = [0_u8; 8];
        let read = call(libc::SYS_modify_ldt, &[0, into(&mut bytes), 8]).map(|length| length as i32);
        wrong.gives("the table can be read", read, 8);
    })
}
