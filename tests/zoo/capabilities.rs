//! All five sets of capabilities, each with something of its own: effective, permitted, inheritable, bounding, ambient.

use crate::kernel::{at, call, prctl, status};
use crate::stage::{Held, Stage};

const NET_RAW: usize = 13;
const KILL: usize = 5;
const CHOWN: usize = 0;
const AUDIT_WRITE: usize = 29;

/// Version 3 and the calling thread, capget(2).
const HEADER: [u32; 2] = [0x2008_0522, 0];

pub fn hold(stage: &mut Stage) -> Held {
    let bounding = u64::from_str_radix(&status("/proc/self/status", "CapBnd"), 16)?;
    prctl(libc::PR_CAPBSET_DROP, &[AUDIT_WRITE])?;
    let effective = 1_u32 << NET_RAW;
    let permitted = 1_u32 << NET_RAW | 1 << KILL | 1 << CHOWN;
    let inheritable = 1_u32 << NET_RAW | 1 << KILL;
    call(libc::SYS_capset, &[at(&HEADER), at(&[effective, permitted, inheritable, 0, 0, 0])])?;
    prctl(libc::PR_CAP_AMBIENT, &[libc::PR_CAP_AMBIENT_RAISE as usize, KILL])?;
    let set = |name: &str| u64::from_str_radix(&status("/proc/self/status", name), 16).unwrap_or(u64::MAX);
    stage.keeps(|wrong| {
        wrong.equal("effective", set("CapEff"), u64::from(effective));
        wrong.equal("permitted", set("CapPrm"), u64::from(permitted));
        wrong.equal("inheritable", set("CapInh"), u64::from(inheritable));
        wrong.equal("ambient", set("CapAmb"), 1 << KILL);
        wrong.equal("bounding", set("CapBnd"), bounding & !(1 << AUDIT_WRITE));
    })
}
