//! Filters that all threads share: a further one can be given to all of them at once (SECCOMP_FILTER_FLAG_TSYNC).

use crate::filters::{ALL_THREADS, answer, error, install, no_new_privileges};
use crate::stage::{Held, Stage, cannot};
use crate::workers::Workers;
use std::sync::atomic::{AtomicI32, Ordering};

static LATER: AtomicI32 = AtomicI32::new(0);

fn answers() -> (i32, i32) {
    (answer(libc::SYS_getppid), answer(libc::SYS_getgid))
}

pub fn hold(stage: &mut Stage) -> Held {
    no_new_privileges()?;
    let workers = Workers::start(3, |_| true, |_| answers() == (7, LATER.load(Ordering::SeqCst)))?;
    if let Err(error) = install(&[(libc::SYS_getppid, error(7))], ALL_THREADS) {
        return cannot(format!("seccomp: {error}"));
    }
    stage.keeps(|wrong| {
        wrong.equal("the answers", answers(), (7, 0));
        workers.look(wrong, "the answers of thread");
    })?;
    stage.wrong.gives("another one for all", install(&[(libc::SYS_getgid, error(9))], ALL_THREADS), 0);
    LATER.store(9, Ordering::SeqCst);
    stage.wrong.equal("the answers with it", answers(), (7, 9));
    workers.look(&mut stage.wrong, "the answers with it of thread");
    Ok(())
}
