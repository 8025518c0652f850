//! Restartable sequences: the area that libc has registered for each thread is still registered, and kept up to date.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::kernel::{at, call, into};
use crate::stage::{Held, Stage, Trouble, cannot};
use crate::workers::Workers;

unsafe extern "C" {
    /// Where libc keeps the area, from the thread pointer (glibc 2.35).
    safe static __rseq_offset: isize;
    safe static __rseq_size: u32;
}

/// The processor number that the kernel keeps in the area, beside the one that it gives when asked.
fn agrees() -> bool {
    let thread: usize;
    // SAFETY: the first word at the thread pointer is the thread pointer itself (x86-64 psABI).
    unsafe { std::arch::asm!("mov {}, fs:0", out(reg) thread) };
    // SAFETY: libc has put the area there, and the processor's number is its second word.
    let kept = unsafe { &*((thread as isize + __rseq_offset + 4) as *const AtomicU32) };
    let asked = || {
        let mut processor = u32::MAX;
        call(libc::SYS_getcpu, &[into(&mut processor), 0, 0]).map(|_| processor)
    };
    // Three looks: the thread may move between two of them.
    (0..3).any(|_| asked().is_ok_and(|processor| processor == kept.load(Ordering::SeqCst)))
}

/// Goes to each processor in turn: an area that is no longer kept would keep an old number.
fn follows(processors: u64) -> bool {
    let mut all = (0..64).filter(|number| processors & 1 << number != 0);
    let well = all.all(|number| call(libc::SYS_sched_setaffinity, &[0, 8, at(&(1_u64 << number))]).is_ok() && agrees());
    well && call(libc::SYS_sched_setaffinity, &[0, 8, at(&processors)]).is_ok()
}

pub fn hold(stage: &mut Stage) -> Held {
    if __rseq_size == 0 {
        return cannot("libc has not registered restartable sequences");
    }
    let mut processors = [0_u64; 16];
    call(libc::SYS_sched_getaffinity, &[0, 128, into(&mut processors)])?;
    let mask = processors[0];
    let workers = Workers::start(4, move |_| follows(mask), move |_| follows(mask)).map_err(Trouble::from)?;
    stage.keeps(|wrong| {
        wrong.holds("of the main thread", follows(mask));
        workers.look(wrong, "of thread");
    })
}
