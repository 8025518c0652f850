//! Credentials that only one thread has: the raw system calls change the calling thread alone.

use crate::kernel::{at, call, status, tid};
use crate::stage::{Held, Stage};
use crate::workers::Workers;

fn own(name: &str) -> String {
    status(&format!("/proc/self/task/{}/status", tid()), name).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Version 3 and the calling thread, capget(2).
const HEADER: [u32; 2] = [0x2008_0522, 0];

pub fn hold(stage: &mut Stage) -> Held {
    let set_up = |number: usize| match number {
        0 => {
            call(libc::SYS_setgroups, &[1, at(&[55_u32])]).is_ok()
                && call(libc::SYS_setresgid, &[2001, 2002, 2003]).is_ok()
                && call(libc::SYS_setresuid, &[3001, 3002, 3003]).is_ok()
        }
        _ => call(libc::SYS_capset, &[at(&HEADER), at(&[1_u32, 3, 1, 0, 0, 0])]).is_ok(),
    };
    let look = |number: usize| match number {
        0 => {
            (own("Uid"), own("Gid"), own("Groups"))
                == ("3001 3002 3003 3002".into(), "2001 2002 2003 2002".into(), "55".into())
        }
        _ => {
            (own("CapEff"), own("CapPrm"), own("CapInh"))
                == ("0000000000000001".into(), "0000000000000003".into(), "0000000000000001".into())
        }
    };
    let workers = Workers::start(2, set_up, look)?;
    stage.keeps(|wrong| {
        workers.look(wrong, "credentials of thread");
        wrong.equal("the main thread is root", own("Uid"), "0 0 0 0".to_owned());
    })
}
