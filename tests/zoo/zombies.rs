//! Dead children that nobody has waited for yet: one with an exit code, one killed by a signal, one with a core's bit.

use std::time::Duration;

use crate::kernel::{self, Ended};
use crate::stage::{Held, Stage};

fn dead_child(end: impl FnOnce()) -> Result<i32, std::io::Error> {
    let pid = kernel::fork()?;
    if pid == 0 {
        end();
        loop {
            kernel::nap(Duration::from_secs(1));
        }
    }
    Ok(pid)
}

/// The state and the parent, from proc_pid_stat(5).
fn state(pid: i32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit(')').next().unwrap_or_default().split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

pub fn hold(stage: &mut Stage) -> Held {
    let with_code = dead_child(|| kernel::exit(77))?;
    let killed = dead_child(|| {
        // SAFETY: takes numbers only.
        unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
    })?;
    let aborted = dead_child(|| {
        // SAFETY: takes nothing.
        unsafe { libc::abort() };
    })?;
    let dead = format!("Z {}", std::process::id());
    for pid in [with_code, killed, aborted] {
        stage.wrong.holds("the child dies", kernel::until(|| state(pid) == dead));
    }
    stage.keeps(|wrong| {
        for pid in [with_code, killed, aborted] {
            wrong.equal("state and parent", state(pid), dead.clone());
        }
    })?;
    stage.wrong.gives("the exit code", kernel::wait_for(with_code), Ended::Code(77));
    stage.wrong.gives("the signal", kernel::wait_for(killed), Ended::Signal(libc::SIGTERM));
    stage.wrong.gives("the abort", kernel::wait_for(aborted), Ended::Signal(libc::SIGABRT));
    Ok(())
}
