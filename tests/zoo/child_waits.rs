//! wait4 and waitid for a child that ends later.

use crate::interrupted::Call;
use crate::kernel::{call, into};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let one = stage.child(Stage::ready_and_wait)?.pid;
    let two = stage.child(Stage::ready_and_wait)?.pid;
    let text = |error: std::io::Error| error.to_string();
    let calls = vec![
        Call::start("wait4", libc::SYS_wait4, None, i64::from(one), move || {
            let mut status = -1;
            let pid = call(libc::SYS_wait4, &[one as usize, into(&mut status), 0, 0]).map_err(text)?;
            if status == 0 { Ok(pid) } else { Err(format!("status {status}")) }
        })?,
        Call::start("waitid", libc::SYS_waitid, None, i64::from(two), move || {
            let mut info = [0_i32; 32];
            let arguments = [libc::P_PID as usize, two as usize, into(&mut info), libc::WEXITED as usize, 0];
            call(libc::SYS_waitid, &arguments).map_err(text)?;
            Ok(i64::from(info[4]))
        })?,
    ];
    for call in &calls {
        call.still_waits(stage);
    }
    // The children end at `go` as well, so the calls may end before this process has seen it.
    stage.ready_and_wait()?;
    for call in calls {
        call.judge(stage);
    }
    stage.hear(one);
    stage.hear(two);
    Ok(())
}
