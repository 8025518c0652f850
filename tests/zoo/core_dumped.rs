//! A dead child that left a core file, and nobody has asked for it yet: the bit that tells of the file cannot be given back.

use crate::kernel::{self, call, status, until};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.starts_with('|') {
        return cannot(format!("core files go to a program: {}", pattern.trim()));
    }
    let mut limit = [0_u64; 2];
    call(libc::SYS_prlimit64, &[0, libc::RLIMIT_CORE as usize, 0, kernel::into(&mut limit)])?;
    if limit[1] < 1 << 20 {
        return cannot("core files are forbidden by a limit");
    }
    call(libc::SYS_prlimit64, &[0, libc::RLIMIT_CORE as usize, kernel::at(&[limit[1], limit[1]]), 0])?;
    std::env::set_current_dir(stage.path(""))?;
    let child = kernel::fork()?;
    if child == 0 {
        // SAFETY: takes nothing.
        unsafe { libc::abort() };
    }
    stage.wrong.holds("the child dies", until(|| status(&format!("/proc/{child}/status"), "State").starts_with('Z')));
    stage.ready_and_wait()?;
    let mut told = 0;
    // SAFETY: `told` lives through the call.
    kernel::checked(unsafe { libc::waitpid(child, &raw mut told, 0) })?;
    stage.wrong.equal("the parent is told of the core file", libc::WCOREDUMP(told), true);
    Ok(())
}
