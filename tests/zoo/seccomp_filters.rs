//! Filters of system calls: some that all threads have, and in what order; one that a single thread has; one that comes to
//! all later, which it can only where the others are common to them. Calls that end the process are among what they forbid:
//! such as are used to look at it.

use crate::filters::{ALL_THREADS, KILL, LOG, answer, error, install, no_new_privileges};
use crate::kernel::{prctl, status};
use crate::stage::{Held, Stage, cannot};
use crate::workers::Workers;

/// What the program itself does not call, and whoever wants to know all about it may.
const DEADLY: [i64; 7] = [
    libc::SYS_getitimer,
    libc::SYS_timer_gettime,
    libc::SYS_get_robust_list,
    libc::SYS_arch_prctl,
    libc::SYS_kcmp,
    libc::SYS_get_mempolicy,
    libc::SYS_getpriority,
];

fn own(name: &str) -> String {
    status("/proc/thread-self/status", name)
}

/// The errors of getppid(2), which two filters answer (the newer one counts), and of getuid(2), which one thread's does.
fn answers() -> (i32, i32) {
    (answer(libc::SYS_getppid), answer(libc::SYS_getuid))
}

pub fn hold(stage: &mut Stage) -> Held {
    no_new_privileges()?;
    if let Err(error) = install(&DEADLY.map(|call| (call, KILL)), LOG) {
        return cannot(format!("seccomp: {error}"));
    }
    let set_up = |number: usize| number == 1 || install(&[(libc::SYS_getuid, error(13))], 0).is_ok();
    let look = |number: usize| {
        let (filters, uid) = [("4", 13), ("3", 0)][number];
        answers() == (11, uid) && own("Seccomp_filters") == filters && own("Seccomp") == "2"
    };
    install(&[(libc::SYS_getppid, error(7))], 0)?;
    install(&[(libc::SYS_getppid, error(11))], 0)?;
    let workers = Workers::start(2, set_up, look)?;
    stage.keeps(|wrong| {
        wrong.equal("the answers", answers(), (11, 0));
        wrong.equal("filters", own("Seccomp_filters"), "3".to_owned());
        wrong.gives("no_new_privs", prctl(libc::PR_GET_NO_NEW_PRIVS, &[0, 0, 0, 0]), 1);
        workers.look(wrong, "the filters of thread");
    })?;
    // A thread has a filter that this one lacks: the others cannot follow, and the answer is which one it is.
    let refused = install(&[(libc::SYS_getgid, error(9))], ALL_THREADS);
    stage.wrong.holds("a thread with a filter of its own does not follow", refused.is_ok_and(|thread| thread > 0));
    Ok(())
}
