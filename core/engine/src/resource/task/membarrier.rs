//! What a process has registered for with membarrier(2), which it must before it may use it.

// zoo: membarrier

use crate::arguments;
use crate::kernel::Errno;
use crate::puppet::{Batch, Call};

/// MEMBARRIER_CMD_GET_REGISTRATIONS, Linux 6.3.
const GET_REGISTRATIONS: i32 = 1 << 9;

/// The commands that register: of global, private, core and rseq barriers.
const REGISTRATIONS: [u32; 4] = [1 << 2, 1 << 4, 1 << 6, 1 << 8];

/// Asks a process.
pub fn ask(batch: &mut Batch) -> Call {
    batch.ask(libc::SYS_membarrier, arguments![GET_REGISTRATIONS, 0, 0])
}

/// The commands it has registered with. An older kernel does not tell, so that the process is given those that its
/// programs use: a registration costs nothing until a barrier is asked for.
pub fn answer(asked: Call, batch: &Batch) -> u32 {
    const MOST_USED: u32 = 1 << 2 | 1 << 4;
    match batch.result(asked) {
        Ok(commands) => commands as u32,
        Err(Errno::EINVAL) => MOST_USED,
        Err(_) => 0,
    }
}

/// Registers it again.
pub fn restore(commands: u32, batch: &mut Batch) {
    for command in REGISTRATIONS.into_iter().filter(|command| commands & command != 0) {
        batch.must("register for memory barriers", libc::SYS_membarrier, arguments![command, 0, 0]);
    }
}
