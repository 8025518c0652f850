//! Users and groups that all differ: real, effective, saved and for files, and the supplementary groups.

use crate::kernel::{call, status};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let groups = [7_u32, 70, 700, 70_000];
    call(libc::SYS_setgroups, &[groups.len(), groups.as_ptr() as usize])?;
    call(libc::SYS_setresgid, &[1001, 1002, 1003])?;
    call(libc::SYS_setfsgid, &[1004])?;
    // The real user stays root, so that what is written to the folder stays possible through the saved one.
    call(libc::SYS_setresuid, &[1005, 0, 1007])?;
    call(libc::SYS_setfsuid, &[0])?;
    stage.keeps(|wrong| {
        let line = |name: &str| status("/proc/self/status", name).split_whitespace().collect::<Vec<_>>().join(" ");
        wrong.equal("Uid", line("Uid"), "1005 0 1007 0".to_owned());
        wrong.equal("Gid", line("Gid"), "1001 1002 1003 1004".to_owned());
        wrong.equal("Groups", line("Groups"), "7 70 700 70000".to_owned());
    })
}
