//! Sessions and process groups: a session of a child, groups within it, and a session and a group whose leaders are dead.

use crate::kernel::{self, call};
use crate::stage::{Held, Stage, Trouble};

fn ids() -> (i64, i64) {
    let get = |number| call(number, &[0]).unwrap_or(-1);
    (get(libc::SYS_getsid), get(libc::SYS_getpgid))
}

/// A process of a session and a group whose leaders are dead; its parent is this process, the subreaper.
fn orphan(stage: &mut Stage) -> Result<i32, Trouble> {
    let leader = kernel::fork()?;
    if leader == 0 {
        call(libc::SYS_setsid, &[])?;
        let member = stage.child(|stage| {
            let group_leader = kernel::fork()?;
            if group_leader == 0 {
                call(libc::SYS_setpgid, &[0, 0])?;
                kernel::nap(std::time::Duration::from_secs(1));
                kernel::exit(0);
            }
            let _ = call(libc::SYS_setpgid, &[group_leader as usize, group_leader as usize]);
            call(libc::SYS_setpgid, &[0, group_leader as usize])?;
            kernel::wait_for(group_leader)?;
            let leader = call(libc::SYS_getsid, &[0])?;
            let expected = (leader, i64::from(group_leader));
            stage.keeps(|wrong| wrong.equal("session and group of dead leaders", ids(), expected))
        })?;
        std::fs::write(stage.path("orphan"), member.pid.to_string())?;
        kernel::exit(0);
    }
    stage.wrong.gives("the session's leader ends", kernel::wait_for(leader), kernel::Ended::Code(0));
    Ok(std::fs::read_to_string(stage.path("orphan"))?.parse()?)
}

pub fn hold(stage: &mut Stage) -> Held {
    kernel::prctl(libc::PR_SET_CHILD_SUBREAPER, &[1])?;
    let orphan = orphan(stage)?;
    let own = ids();
    let child = stage.child(|stage| {
        let session = call(libc::SYS_setsid, &[])?;
        let member = stage.child(move |stage| {
            call(libc::SYS_setpgid, &[0, 0])?;
            let pid = i64::from(std::process::id());
            stage.keeps(move |wrong| wrong.equal("a group in the child's session", ids(), (session, pid)))
        })?;
        stage.keeps(|wrong| wrong.equal("the child's session", ids(), (session, session)))?;
        stage.join(member);
        Ok(())
    })?;
    stage.keeps(|wrong| wrong.equal("the first session", ids(), own))?;
    stage.join(child);
    stage.join(crate::stage::Child { pid: orphan });
    Ok(())
}
