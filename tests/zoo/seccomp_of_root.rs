//! A filter that root has taken on without no_new_privs, and then given up its power: it could not take it on again itself.

use crate::filters::{answer, error, install};
use crate::kernel::{at, call, prctl};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    if let Err(error) = install(&[(libc::SYS_getppid, error(7))], 0) {
        return cannot(format!("seccomp: {error}"));
    }
    // capset(2), version 3: no capability at all.
    let (header, none) = ([0x2008_0522_u32, 0], [0_u32; 6]);
    call(libc::SYS_capset, &[at(&header), at(&none)])?;
    stage.keeps(|wrong| {
        wrong.gives("no_new_privs", prctl(libc::PR_GET_NO_NEW_PRIVS, &[0, 0, 0, 0]), 0);
        wrong.equal("the answer", answer(libc::SYS_getppid), 7);
        let denied = install(&[(libc::SYS_getppid, error(9))], 0).map_err(|error| error.raw_os_error());
        wrong.equal("it may take on no other", denied, Err(Some(libc::EACCES)));
    })
}
