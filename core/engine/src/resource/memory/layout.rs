//! Where the parts of a process are: PR_SET_MM_MAP, prctl(2); what ps(1) shows as its arguments lies there.

// zoo: heap

use serde::{Deserialize, Serialize};

use crate::arguments;
use crate::proc::stat::Stat;
use crate::puppet::{Batch, Call};

/// The parts, addresses all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Code.
    pub code: (u64, u64),
    /// Initialized data.
    pub data: (u64, u64),
    /// Heap, brk(2): start and present end.
    pub heap: (u64, u64),
    /// Bottom of the stack.
    pub stack: u64,
    /// Arguments.
    pub arguments: (u64, u64),
    /// Environment.
    pub environment: (u64, u64),
    /// The auxiliary vector, getauxval(3), as the kernel keeps it.
    #[serde(with = "serde_bytes")]
    pub auxiliary: Vec<u8>,
    /// The executable: an index of the group's mapped files, or of its contents.
    pub executable: Executable,
}

/// The file a process runs, proc_pid_exe(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Executable {
    /// A file with a name.
    Named(usize),
    /// A file without one.
    Content(usize),
}

/// Asks for the end of the heap.
pub fn ask(batch: &mut Batch) -> Call {
    batch.ask(libc::SYS_brk, arguments![0])
}

/// The record.
pub fn answer(asked: Call, batch: &Batch, stat: &Stat, auxiliary: Vec<u8>, executable: Executable) -> Layout {
    Layout {
        code: (stat.start_code, stat.end_code),
        data: (stat.start_data, stat.end_data),
        heap: (stat.start_brk, batch.result(asked).unwrap_or(stat.start_brk)),
        stack: stat.start_stack,
        arguments: (stat.arg_start, stat.arg_end),
        environment: (stat.env_start, stat.env_end),
        auxiliary,
        executable,
    }
}

/// Gives it back, with the executable open as descriptor `executable`.
pub fn restore(record: &Layout, executable: i32, batch: &mut Batch) {
    const PR_SET_MM: i32 = 35;
    const PR_SET_MM_MAP: i32 = 14;
    let auxiliary = batch.bytes(&record.auxiliary);
    let mut map = Vec::with_capacity(104);
    for word in [
        record.code.0,
        record.code.1,
        record.data.0,
        record.data.1,
        record.heap.0,
        record.heap.1,
        record.stack,
        record.arguments.0,
        record.arguments.1,
        record.environment.0,
        record.environment.1,
        0,
    ] {
        map.extend(word.to_ne_bytes());
    }
    map.extend((record.auxiliary.len() as u32).to_ne_bytes());
    map.extend(executable.to_ne_bytes());
    let map = batch.bytes(&map);
    batch.point(map, 88, auxiliary);
    batch.must(
        "set where the parts of the process are and which file it runs",
        libc::SYS_prctl,
        arguments![PR_SET_MM, PR_SET_MM_MAP, map, 104, 0],
    );
}
