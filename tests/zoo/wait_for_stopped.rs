//! Stopped children, and continued ones, whose parent has been told of it already or not: wait4 with WUNTRACED and
//! WCONTINUED. One stopped child has a signal waiting that would end it.

use crate::kernel::{call, into, status, until};
use crate::stage::{Held, Stage};

const NEWS: i32 = libc::WUNTRACED | libc::WCONTINUED | libc::WNOHANG;
const CONTINUED: i32 = 0xffff;

fn is_stopped(child: i32) -> bool {
    status(&format!("/proc/{child}/status"), "State").starts_with('T')
}

fn stopped_child(signal: i32) -> Result<i32, std::io::Error> {
    let child = crate::kernel::fork()?;
    if child == 0 {
        // In a process group whose parents are all outside the session, a terminal's signals stop nobody.
        let _ = call(libc::SYS_setpgid, &[0, 0]);
        let _ = call(libc::SYS_kill, &[std::process::id() as usize, signal as usize]);
        let _ = call(libc::SYS_pause, &[]);
        crate::kernel::exit(3);
    }
    until(|| is_stopped(child));
    Ok(child)
}

fn continued_child() -> Result<i32, std::io::Error> {
    let child = stopped_child(libc::SIGSTOP)?;
    send(child, libc::SIGCONT)?;
    until(|| !is_stopped(child));
    Ok(child)
}

fn send(child: i32, signal: i32) -> Result<(), std::io::Error> {
    call(libc::SYS_kill, &[child as usize, signal as usize]).map(drop)
}

fn ask(child: i32, options: i32) -> Result<(i64, i32), std::io::Error> {
    let mut status = 0;
    call(libc::SYS_wait4, &[child as usize, into(&mut status), options as usize, 0]).map(|pid| (pid, status))
}

pub fn hold(stage: &mut Stage) -> Held {
    let stop = |signal: i32| signal << 8 | 0x7f;
    let (told, untold) = (stopped_child(libc::SIGSTOP)?, stopped_child(libc::SIGSTOP)?);
    let by_terminal = stopped_child(libc::SIGTSTP)?;
    let (told_continued, untold_continued) = (continued_child()?, continued_child()?);
    stage.wrong.gives("the first news", ask(told, NEWS), (i64::from(told), stop(libc::SIGSTOP)));
    stage.wrong.gives(
        "the first news of one that runs",
        ask(told_continued, NEWS),
        (i64::from(told_continued), CONTINUED),
    );
    send(told, libc::SIGTERM)?;
    stage.ready_and_wait()?;
    stage.wrong.gives("news that were told are not told again", ask(told, NEWS), (0, 0));
    stage.wrong.gives("news that were not told are told", ask(untold, NEWS), (i64::from(untold), stop(libc::SIGSTOP)));
    let expected = (i64::from(by_terminal), stop(libc::SIGTSTP));
    stage.wrong.gives("by which signal", ask(by_terminal, NEWS), expected);
    stage.wrong.gives("one that runs, told", ask(told_continued, NEWS), (0, 0));
    let expected = (i64::from(untold_continued), CONTINUED);
    stage.wrong.gives("one that runs, not told", ask(untold_continued, NEWS), expected);
    stage.wrong.holds("those that run are not stopped", !is_stopped(told_continued) && !is_stopped(untold_continued));
    stage.wrong.holds("the signal waits on", is_stopped(told));
    for child in [told, untold, by_terminal, told_continued, untold_continued] {
        send(child, libc::SIGCONT)?;
        if child != told {
            send(child, libc::SIGKILL)?;
        }
        let end = if child == told { libc::SIGTERM } else { libc::SIGKILL };
        stage.wrong.gives("the end", ask(child, 0), (i64::from(child), end));
    }
    Ok(())
}
