//! A Landlock domain: the engine cannot give it back, and must say so by name.

use crate::kernel::{at, call, prctl};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    /// LANDLOCK_ACCESS_FS_MAKE_SYM.
    const MAKE_SYMLINK: u64 = 1 << 12;
    let ruleset = match call(libc::SYS_landlock_create_ruleset, &[at(&MAKE_SYMLINK), 8, 0]) {
        Ok(ruleset) => ruleset,
        Err(error) => return cannot(format!("landlock_create_ruleset: {error}")),
    };
    prctl(libc::PR_SET_NO_NEW_PRIVS, &[1, 0, 0, 0])?;
    call(libc::SYS_landlock_restrict_self, &[ruleset as usize, 0])?;
    call(libc::SYS_close, &[ruleset as usize])?;
    let link = stage.path("link");
    stage.keeps(|wrong| {
        wrong.holds("a symbolic link is denied", std::os::unix::fs::symlink("anywhere", &link).is_err());
    })
}
