//! The address that is cleared when a thread ends, set_tid_address(2): kept in a process where it must not be cleared,
//! because it shares its memory with no thread. That it is cleared and woken is what `joined_thread` looks at.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::kernel::call;
use crate::memory::{Mapping, READ_WRITE};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let shared = Mapping::new(4096, READ_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0)?;
    // SAFETY: the mapping is as aligned as can be, and stays for as long as the process.
    let word = unsafe { &*(shared.start as *const AtomicU32) };
    word.store(77, Ordering::SeqCst);
    let child = stage.child(|stage| {
        call(libc::SYS_set_tid_address, &[shared.start])?;
        stage.keeps(|wrong| wrong.equal("the word", word.load(Ordering::SeqCst), 77))
    })?;
    stage.ready_and_wait()?;
    // A process alone with its memory does not clear the word; this one shares it, but not as a thread does.
    stage.join(child);
    let before = word.load(Ordering::SeqCst);
    stage.wrong.equal("the word after a process that shares no address space ended", before, 77);
    Ok(())
}
