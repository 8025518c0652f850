//! Syscall user dispatch: while a byte says so, system calls of this thread are a SIGSYS of its own.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use crate::kernel::{call, prctl};
use crate::stage::{Held, Stage, cannot};

const PR_SET_SYSCALL_USER_DISPATCH: i32 = 59;
const ON: usize = 1;
const BLOCK: u8 = 1;

static SELECTOR: AtomicU8 = AtomicU8::new(0);
static CAUGHT: AtomicUsize = AtomicUsize::new(0);

extern "C" fn caught(_: i32) {
    CAUGHT.fetch_add(1, Ordering::SeqCst);
    SELECTOR.store(0, Ordering::SeqCst);
}

pub fn hold(stage: &mut Stage) -> Held {
    // SAFETY: the handler only stores.
    unsafe { libc::signal(libc::SIGSYS, caught as *const () as usize) };
    let selector = SELECTOR.as_ptr() as usize;
    if let Err(error) = prctl(PR_SET_SYSCALL_USER_DISPATCH, &[ON, 0, 0, selector]) {
        return cannot(format!("syscall user dispatch: {error}"));
    }
    let mut expected = 0;
    stage.keeps(|wrong| {
        SELECTOR.store(BLOCK, Ordering::SeqCst);
        let _ = call(libc::SYS_getppid, &[]);
        SELECTOR.store(0, Ordering::SeqCst);
        expected += 1;
        wrong.equal("calls that became signals", CAUGHT.load(Ordering::SeqCst), expected);
    })
}
