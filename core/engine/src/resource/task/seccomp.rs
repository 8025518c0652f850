//! Which system calls a thread may make, seccomp(2): in strict mode four, else what its filters let through.
//!
//! Filters are given back in their order, with what they log. Those that all threads of a process have in common become
//! common again (SECCOMP_FILTER_FLAG_TSYNC asks for that later); those that only some share become copies. What a filter does
//! to speculation (SECCOMP_FILTER_FLAG_SPEC_ALLOW keeps it from that) is among the thread's
//! [controls](super::controls).
//!
//! While the engine works in such a thread its confinement is lifted (PTRACE_O_SUSPEND_SECCOMP, ptrace(2)).

// zoo: seccomp_filters seccomp_no_restart seccomp_together seccomp_strict seccomp_of_root seccomp_notify

use dormouse_wire::{Phrase, Problem, ProblemKind, Tid, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::arguments;
use crate::kernel::ptrace::GeneralRegisters;
use crate::kernel::seccomp::{self, INSTRUCTION, Installed};
use crate::kernel::{Answer, Errno};
use crate::proc::bpf;
use crate::proc::status::Status;
use crate::puppet::Batch;
use crate::puppet::arch::{self, Abi};

/// How a thread is confined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// It is not.
    #[default]
    Off,
    /// SECCOMP_MODE_STRICT: only read, write, exit and sigreturn.
    Strict,
    /// By these filters of its process, oldest first: indices.
    Filters(Vec<usize>),
}

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Its program: `struct sock_filter`s.
    pub program: ByteBuf,
    /// SECCOMP_FILTER_FLAG_LOG: what it does not allow is logged.
    pub log: bool,
}

/// BPF_MAXINSNS: the most instructions of one filter.
const MOST_INSTRUCTIONS: usize = 4096;

impl Filter {
    /// Whether its program has a length that one can have.
    pub fn is_possible(&self) -> bool {
        self.program.len().is_multiple_of(INSTRUCTION)
            && (1..=MOST_INSTRUCTIONS).contains(&(self.program.len() / INSTRUCTION))
    }
}

/// The modes of proc_pid_status(5).
const STRICT: u32 = 1;
const FILTER: u32 = 2;

/// Whether a thread is confined.
pub fn is_confined(status: &Status) -> bool {
    status.seccomp.unwrap_or(0) != 0
}

/// What of a stopped tracee's confinement cannot be given back, or read.
pub fn judge(thread: Tid, status: &Status) -> Option<Problem> {
    let refuse = |what: Phrase, way_out: Phrase| Some(Problem::blocks(ProblemKind::Confinement, what).way_out(way_out));
    if !is_confined(status) {
        return None;
    }
    if !seccomp::may_suspend() {
        let what = phrase!(
            "it is confined by seccomp, and Dormouse cannot work in it: that wants CAP_SYS_ADMIN, and a Dormouse that is not confined itself"
        );
        return refuse(what, phrase!("Run Dormouse as root, outside of any sandbox"));
    }
    if status.seccomp != Some(FILTER) {
        return None;
    }
    match seccomp::filters(thread) {
        Ok(filters) if filters.iter().any(|filter| notifies(&filter.program)) => {
            let what = phrase!(
                "another process decides on its system calls (seccomp user notification), which cannot be given back"
            );
            refuse(what, phrase!("Pause the group instead"))
        }
        Ok(_) => None,
        Err(errno) => {
            let what = phrase!("the seccomp filters that confine it cannot be read: {why}", why = errno.desc());
            refuse(what, phrase!("Pause the group instead"))
        }
    }
}

/// Whether a program may answer SECCOMP_RET_USER_NOTIF: a constant of that sort is returned or loaded in it. Whether anybody
/// listens is not to be seen.
fn notifies(program: &[u8]) -> bool {
    const ACTION: u32 = 0xffff_0000;
    const USER_NOTIFICATION: u32 = 0x7fc0_0000;
    // Classes of instructions: BPF_LD, BPF_LDX, BPF_ALU, BPF_RET.
    const CLASS: u16 = 7;
    const CLASSES: [u16; 4] = [0, 1, 4, 6];
    program.chunks_exact(INSTRUCTION).any(|instruction| {
        let code = u16::from_ne_bytes([instruction[0], instruction[1]]);
        let constant = u32::from_ne_bytes([instruction[4], instruction[5], instruction[6], instruction[7]]);
        constant & ACTION == USER_NOTIFICATION && CLASSES.contains(&(code & CLASS))
    })
}

/// Whether a stopped tracee must not go on with the call that was interrupted in the way that the kernel would, by
/// restart_syscall(2): its filters forbid that.
pub fn forbids_restart(thread: Tid, registers: &GeneralRegisters, abi: Abi) -> bool {
    const ACTION: u32 = 0xffff_0000;
    // SECCOMP_RET_ALLOW and SECCOMP_RET_LOG.
    const HARMLESS: [u32; 2] = [0x7fff_0000, 0x7ffc_0000];
    if arch::interrupted_call(registers).is_none_or(|(_, answer)| answer != arch::restart::RESTART_RESTARTBLOCK) {
        return false;
    }
    // Who has none, or may not be asked, is not spared.
    let filters = seccomp::filters(thread).unwrap_or_default();
    let machine = if abi == Abi::Ia32 { bpf::Machine::Ia32 } else { bpf::Machine::Own };
    let data = bpf::call(machine, abi.restart(), registers.rip, abi.arguments(registers));
    let answers = filters.iter().filter_map(|filter| bpf::run(&filter.program, &data));
    answers.into_iter().any(|answer| !HARMLESS.contains(&(answer & ACTION)))
}

/// The record of a stopped tracee; its filters are added to those of its process.
pub fn capture(thread: Tid, status: &Status, filters: &mut Vec<Filter>) -> Answer<Seccomp> {
    match status.seccomp {
        Some(STRICT) => Ok(Seccomp::Strict),
        Some(FILTER) => {
            let installed = seccomp::filters(thread)?;
            Ok(Seccomp::Filters(installed.into_iter().map(|filter| place(filter, filters)).collect()))
        }
        None | Some(0) => Ok(Seccomp::Off),
        Some(_) => Err(Errno::ENOTSUP),
    }
}

fn place(installed: Installed, filters: &mut Vec<Filter>) -> usize {
    let filter = Filter { program: ByteBuf::from(installed.program), log: installed.log };
    filters.iter().position(|known| *known == filter).unwrap_or_else(|| {
        filters.push(filter);
        filters.len() - 1
    })
}

/// How many filters, from the oldest on, all these threads have in common.
pub fn common(threads: &[&Seccomp]) -> usize {
    let filters = |seccomp: &Seccomp| match seccomp {
        Seccomp::Filters(filters) => filters.clone(),
        _ => Vec::new(),
    };
    let mut threads = threads.iter().map(|thread| filters(thread));
    let Some(mut shared) = threads.next() else { return 0 };
    for own in threads {
        let alike = shared.iter().zip(&own).take_while(|(one, other)| one == other).count();
        shared.truncate(alike);
    }
    shared.len()
}

/// Lets the thread that runs the batch take on a filter; `all`: all threads of its process with it.
///
/// It must have no more filters than the others, and CAP_SYS_ADMIN or no_new_privs.
pub fn install(filter: &Filter, all: bool, batch: &mut Batch) {
    const SET_MODE_FILTER: u32 = 1;
    const TSYNC: u32 = 1;
    const LOG: u32 = 1 << 1;
    const SPEC_ALLOW: u32 = 1 << 2;
    /// Linux 5.7: ESRCH instead of the id of a thread that cannot follow.
    const TSYNC_ESRCH: u32 = 1 << 4;
    /// In `struct sock_fprog`: the number of instructions, then where they are.
    const PLACE: usize = 8;
    let program = batch.bytes(&filter.program);
    let length = (filter.program.len() / INSTRUCTION) as u64;
    let described = batch.bytes(&[length.to_ne_bytes(), [0; 8]].concat());
    batch.point(described, PLACE, program);
    let log = if filter.log { LOG } else { 0 };
    let together = if all { TSYNC | TSYNC_ESRCH } else { 0 };
    let arguments = arguments![SET_MODE_FILTER, SPEC_ALLOW | log | together, described];
    batch.must("take on a filter of system calls (seccomp) again", libc::SYS_seccomp, arguments);
}

/// Lets the thread that runs the batch take on strict mode.
pub fn become_strict(batch: &mut Batch) {
    const MODE_STRICT: u32 = 1;
    let arguments = arguments![libc::PR_SET_SECCOMP, MODE_STRICT, 0, 0, 0];
    batch.must("take on seccomp's strict mode again", libc::SYS_prctl, arguments);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruction(code: u16, constant: u32) -> Vec<u8> {
        [&code.to_ne_bytes()[..], &[0, 0], &constant.to_ne_bytes()].concat()
    }

    #[test]
    fn a_filter_that_asks_another_process_is_known_by_what_it_answers() {
        const RETURN: u16 = 6;
        const LOAD: u16 = 0;
        const JUMP: u16 = 0x15;
        assert!(notifies(&[instruction(LOAD, 5), instruction(RETURN, 0x7fc0_0001)].concat()));
        assert!(notifies(&instruction(LOAD, 0x7fc0_0000)));
        assert!(!notifies(&instruction(JUMP, 0x7fc0_0000)));
        assert!(!notifies(&instruction(RETURN, 0x7fff_0000)));
    }

    #[test]
    fn threads_have_in_common_what_all_took_on_first() {
        let filters = |all: &[usize]| Seccomp::Filters(all.to_vec());
        let (one, two, three) = (filters(&[0, 1, 2]), filters(&[0, 1]), filters(&[0, 2, 1]));
        assert_eq!(common(&[&one, &two]), 2);
        assert_eq!(common(&[&one, &two, &three]), 1);
        assert_eq!(common(&[&one, &Seccomp::Off]), 0);
        assert_eq!(common(&[]), 0);
    }

    #[test]
    fn a_program_has_whole_instructions_and_no_end_of_them() {
        let filter = |length: usize| Filter { program: ByteBuf::from(vec![0; length]), log: false };
        assert!(filter(8).is_possible() && filter(4096 * 8).is_possible());
        assert!(!filter(0).is_possible() && !filter(12).is_possible() && !filter(4097 * 8).is_possible());
    }
}
