//! A process whose first thread has ended, while another one goes on.

use crate::kernel::{call, status, tid, until};
use crate::stage::{Held, Stage};

/// What the thread that is left does. It gives the answer for the whole process.
fn go_on(stage: &mut Stage) -> Held {
    let leader = std::process::id();
    let state = || status(&format!("/proc/self/task/{leader}/status"), "State");
    stage.wrong.holds("the leader ends", until(|| state().starts_with('Z')));
    stage.keeps(|wrong| {
        wrong.equal("the leader", state(), "Z (zombie)".to_owned());
        wrong.holds("this is another thread", tid() as u32 != leader);
    })
}

pub fn hold(stage: &mut Stage) -> Held {
    let mut other = Stage::new(&stage.path(""))?;
    std::thread::spawn(move || {
        let held = go_on(&mut other);
        other.finish(held);
        std::process::exit(0);
    });
    call(libc::SYS_exit, &[0])?;
    Ok(())
}
