//! What a thread has told the kernel of how the processor treats it: prctl(2), arch_prctl(2). Each is given back only
//! where it is not what every thread has.

// zoo: controls

use serde::{Deserialize, Serialize};

use crate::arguments;
use crate::kernel::{Answer, Errno};
use crate::puppet::{Batch, Call, Slot};

/// Numbers that libc has no names for, linux/prctl.h and asm/prctl.h.
mod number {
    pub const GET_IO_FLUSHER: i32 = 58;
    pub const SET_IO_FLUSHER: i32 = 57;
    pub const GET_SPECULATION: i32 = 52;
    pub const SET_SPECULATION: i32 = 53;
    pub const ARCH_GET_CPUID: i32 = 0x1011;
    pub const ARCH_SET_CPUID: i32 = 0x1012;
}

/// Of `/proc/PID/stat`: PR_SET_IO_FLUSHER has set both.
const FLUSHER: u32 = 0x0008_0000 | 0x0010_0000;

/// PR_SPEC_STORE_BYPASS, PR_SPEC_INDIRECT_BRANCH and PR_SPEC_L1D_FLUSH.
const SPECULATIONS: usize = 3;

/// Of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controls {
    /// PR_SET_TSC: reading the time stamp counter is a SIGSEGV.
    pub no_time_stamps: bool,
    /// ARCH_SET_CPUID: cpuid is a SIGSEGV.
    pub no_cpuid: bool,
    /// PR_MCE_KILL: 0 late, 1 early, 2 as the system has it.
    pub machine_check: u32,
    /// PR_SET_IO_FLUSHER.
    pub io_flusher: bool,
    /// PR_SET_SPECULATION_CTRL: what was chosen for each kind (PR_SPEC_*), 0 where nothing was.
    pub speculation: [u32; SPECULATIONS],
}

/// What was asked.
#[derive(Debug)]
pub struct Asked {
    time_stamps: Call,
    word: Slot,
    cpuid: Call,
    machine_check: Call,
    io_flusher: Call,
    speculation: [Call; SPECULATIONS],
}

/// Asks a thread.
pub fn ask(batch: &mut Batch) -> Asked {
    let word = batch.space(4);
    Asked {
        time_stamps: batch.ask(libc::SYS_prctl, arguments![libc::PR_GET_TSC, word]),
        word,
        cpuid: batch.ask(libc::SYS_arch_prctl, arguments![number::ARCH_GET_CPUID, 0]),
        machine_check: batch.ask(libc::SYS_prctl, arguments![libc::PR_MCE_KILL_GET, 0, 0, 0, 0]),
        io_flusher: batch.ask(libc::SYS_prctl, arguments![number::GET_IO_FLUSHER, 0, 0, 0, 0]),
        speculation: [0, 1, 2]
            .map(|kind| batch.ask(libc::SYS_prctl, arguments![number::GET_SPECULATION, kind, 0, 0, 0])),
    }
}

/// The record; `flags` are those of `/proc/PID/stat`. What a kernel does not know nobody can have set.
pub fn answer(asked: &Asked, batch: &Batch, flags: u32) -> Answer<Controls> {
    batch.result(asked.time_stamps)?;
    Ok(Controls {
        no_time_stamps: batch.read_u32(asked.word, 0) == libc::PR_TSC_SIGSEGV as u32,
        no_cpuid: batch.result(asked.cpuid) == Ok(0),
        machine_check: batch.result(asked.machine_check).unwrap_or(libc::PR_MCE_KILL_DEFAULT as u64) as u32,
        io_flusher: match batch.result(asked.io_flusher) {
            // It has set it, and lost CAP_SYS_RESOURCE since, without which it is not told either.
            Err(Errno::EPERM) => flags & FLUSHER == FLUSHER,
            told => told == Ok(1),
        },
        speculation: asked.speculation.map(|call| chosen(batch.result(call).unwrap_or(0) as u32)),
    })
}

const PRCTL: u32 = 1;
const ENABLE: u32 = 1 << 1;

/// What a thread has chosen: PR_SPEC_PRCTL says that it can; PR_SPEC_ENABLE is what a thread has that has not.
fn chosen(answer: u32) -> u32 {
    match answer {
        answer if answer & PRCTL == 0 => 0,
        answer if answer & !PRCTL == ENABLE => 0,
        answer => answer & !PRCTL,
    }
}

/// Gives a thread its own, before its credentials. cpuid is the last: nothing of ours uses it.
pub fn restore(record: &Controls, batch: &mut Batch) {
    if record.machine_check != libc::PR_MCE_KILL_DEFAULT as u32 {
        let arguments = arguments![libc::PR_MCE_KILL, libc::PR_MCE_KILL_SET, record.machine_check, 0, 0];
        batch.must("choose what a machine check does", libc::SYS_prctl, arguments);
    }
    if record.io_flusher {
        batch.must("become a flusher", libc::SYS_prctl, arguments![number::SET_IO_FLUSHER, 1, 0, 0, 0]);
    }
    for (kind, chosen) in record.speculation.into_iter().enumerate().filter(|(_, chosen)| *chosen != 0) {
        let arguments = arguments![number::SET_SPECULATION, kind, chosen, 0, 0];
        batch.must("choose how the processor may speculate", libc::SYS_prctl, arguments);
    }
    if record.no_time_stamps {
        batch.must("forbid time stamps", libc::SYS_prctl, arguments![libc::PR_SET_TSC, libc::PR_TSC_SIGSEGV]);
    }
    if record.no_cpuid {
        batch.must("forbid cpuid", libc::SYS_arch_prctl, arguments![number::ARCH_SET_CPUID, 0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_thread_has_chosen_is_given_back() {
        assert_eq!([0, 1 << 3, PRCTL | ENABLE].map(chosen), [0; 3]);
        assert_eq!(chosen(PRCTL | 1 << 2), 1 << 2);
        assert_eq!(chosen(PRCTL | 1 << 3), 1 << 3);
    }
}
