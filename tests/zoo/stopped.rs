//! A process stopped by SIGSTOP, with a child that is stopped too and one thread that would run.

use crate::kernel::{call, exit, status, until};
use crate::memory::Mapping;
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let memory = Mapping::anonymous(4)?;
    memory.fill(1);
    let child = crate::kernel::fork()?;
    if child == 0 {
        call(libc::SYS_kill, &[std::process::id() as usize, libc::SIGSTOP as usize])?;
        exit(if memory.first_wrong_page(1).is_none() { 5 } else { 6 });
    }
    let stopped = || status(&format!("/proc/{child}/status"), "State").starts_with('T');
    stage.wrong.holds("the child is stopped", until(stopped));
    stage.ready()?;
    call(libc::SYS_kill, &[std::process::id() as usize, libc::SIGSTOP as usize])?;
    // The harness continues both after `go`.
    stage.wrong.holds("go was said before SIGCONT", stage.may_go());
    stage.wrong.equal("content", memory.first_wrong_page(1), None);
    stage.wrong.gives("the child's end", crate::kernel::wait_for(child), crate::kernel::Ended::Code(5));
    Ok(())
}
