//! Processes whose parents are dead, tied to the group by nothing but the session or process group that one of it leads.

use std::path::Path;

use crate::kernel::{self, call};
use crate::stage::{Held, Stage};

/// Forks somebody who forks the orphan and ends; `place`: where the orphan writes its pid.
fn orphan(stage: &mut Stage, place: &Path, leads: bool) -> Result<i32, crate::stage::Trouble> {
    let between = kernel::fork()?;
    if between == 0 {
        let child = stage.child(|stage| {
            if leads {
                call(libc::SYS_setpgid, &[0, 0])?;
            }
            stage.ready_and_wait()
        });
        let told = child.map(|child| std::fs::write(place, child.pid.to_string()));
        kernel::exit(i32::from(!matches!(told, Ok(Ok(())))));
    }
    stage.wrong.gives("the process between ends", kernel::wait_for(between), kernel::Ended::Code(0));
    Ok(std::fs::read_to_string(place)?.parse()?)
}

/// The parent and the session, from proc_pid_stat(5).
fn parent_and_session(pid: i32) -> (String, String) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<_> = text.rsplit(')').next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    (fields.get(1).cloned().unwrap_or_default(), fields.get(3).cloned().unwrap_or_default())
}

/// That an orphan is in a session, and not our child.
fn look(stage: &mut Stage, orphans: &[i32], session: i32) -> Held {
    let own = std::process::id().to_string();
    stage.keeps(|wrong| {
        for orphan in orphans {
            let (parent, found) = parent_and_session(*orphan);
            wrong.equal("the orphan's session", found, session.to_string());
            wrong.holds(
                &format!("the orphan's parent is outside: {parent}"),
                parent != own && parent != session.to_string(),
            );
        }
    })?;
    for orphan in orphans {
        let part = stage.path(&format!("part.{orphan}"));
        let answers = kernel::until(|| std::fs::read(&part).is_ok_and(|text| !text.is_empty()));
        stage.wrong.holds("the orphan gives its answer", answers);
        stage.hear(*orphan);
    }
    Ok(())
}

pub fn hold(stage: &mut Stage) -> Held {
    let own = std::process::id() as i32;
    let mut orphans = Vec::new();
    for (name, leads) in [("first", false), ("second", true)] {
        let place = stage.path(name);
        orphans.push(orphan(stage, &place, leads)?);
    }
    // A child with a session of its own, and an orphan in that.
    let child = stage.child(|stage| {
        call(libc::SYS_setsid, &[])?;
        let place = stage.path("third");
        let below = orphan(stage, &place, false)?;
        look(stage, &[below], std::process::id() as i32)
    })?;
    look(stage, &orphans, own)?;
    stage.join(child);
    Ok(())
}
