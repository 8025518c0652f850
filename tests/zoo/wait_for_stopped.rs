//! A stopped child whose parent has been told of it already, and one whose parent has not: wait4 with WUNTRACED.

use crate::kernel::{call, into, status, until};
use crate::stage::{Held, Stage};

fn stopped_child() -> Result<i32, std::io::Error> {
    let child = crate::kernel::fork()?;
    if child == 0 {
        let _ = call(libc::SYS_kill, &[std::process::id() as usize, libc::SIGSTOP as usize]);
        crate::kernel::exit(3);
    }
    until(|| status(&format!("/proc/{child}/status"), "State").starts_with('T'));
    Ok(child)
}

fn ask(child: i32, options: i32) -> Result<(i64, i32), std::io::Error> {
    let mut status = 0;
    call(libc::SYS_wait4, &[child as usize, into(&mut status), options as usize, 0]).map(|pid| (pid, status))
}

pub fn hold(stage: &mut Stage) -> Held {
    let (told, untold) = (stopped_child()?, stopped_child()?);
    let news = libc::WUNTRACED | libc::WNOHANG;
    let stop = libc::SIGSTOP << 8 | 0x7f;
    stage.wrong.gives("the first news", ask(told, news), (i64::from(told), stop));
    stage.ready_and_wait()?;
    stage.wrong.gives("news that were told are not told again", ask(told, news), (0, 0));
    stage.wrong.gives("news that were not told are told", ask(untold, news), (i64::from(untold), stop));
    for child in [told, untold] {
        call(libc::SYS_kill, &[child as usize, libc::SIGCONT as usize])?;
        stage.wrong.gives("the end", ask(child, 0), (i64::from(child), 3 << 8));
    }
    Ok(())
}
