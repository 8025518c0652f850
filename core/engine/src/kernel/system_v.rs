//! System V objects, sysvipc(7).

use dormouse_wire::Pid;

use super::{Answer, checked};

/// Who did the last operation on a semaphore: GETPID of semctl(2).
pub fn last_user(set: i32, semaphore: i32) -> Answer<Pid> {
    // SAFETY: with GETPID, semctl takes integers only.
    checked(unsafe { libc::semctl(set, semaphore, libc::GETPID) }.into()).map(|pid| Pid(pid as i32))
}
