//! Filters of system calls, seccomp(2).

use std::io;

use crate::kernel::{at, call, prctl};

/// SECCOMP_RET_KILL_PROCESS.
pub const KILL: u32 = 0x8000_0000;
/// SECCOMP_RET_USER_NOTIF.
pub const NOTIFY: u32 = 0x7fc0_0000;
/// SECCOMP_FILTER_FLAG_TSYNC: for all threads.
pub const ALL_THREADS: usize = 1;
/// SECCOMP_FILTER_FLAG_LOG.
pub const LOG: usize = 2;
/// SECCOMP_FILTER_FLAG_NEW_LISTENER.
pub const LISTENER: usize = 8;

/// SECCOMP_RET_ERRNO.
pub fn error(number: i32) -> u32 {
    0x5_0000 | number as u32
}

#[repr(C)]
struct Program {
    length: u16,
    instructions: *const u64,
}

/// Takes on a filter that answers these calls so, and lets all others through.
pub fn install(rules: &[(i64, u32)], flags: usize) -> io::Result<i64> {
    const LOAD_NUMBER: u64 = 0x20;
    const JUMP_IF_EQUAL: u64 = 0x15;
    const RETURN: u64 = 0x06;
    const ALLOW: u64 = 0x7fff_0000;
    const SET_MODE_FILTER: usize = 1;
    // `struct sock_filter`: code, jumps if true and if false, constant.
    let instruction = |code: u64, otherwise: u64, constant: u64| code | otherwise << 24 | constant << 32;
    let mut instructions = vec![instruction(LOAD_NUMBER, 0, 0)];
    for (number, answer) in rules {
        instructions.push(instruction(JUMP_IF_EQUAL, 1, *number as u64));
        instructions.push(instruction(RETURN, 0, u64::from(*answer)));
    }
    instructions.push(instruction(RETURN, 0, ALLOW));
    let program = Program { length: instructions.len() as u16, instructions: instructions.as_ptr() };
    call(libc::SYS_seccomp, &[SET_MODE_FILTER, flags, at(&program)])
}

/// The error of a system call without arguments; 0: none.
pub fn answer(number: i64) -> i32 {
    call(number, &[]).err().and_then(|error| error.raw_os_error()).unwrap_or(0)
}

/// PR_SET_NO_NEW_PRIVS: without it only the mighty take on filters.
pub fn no_new_privileges() -> io::Result<i64> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, &[1, 0, 0, 0])
}
