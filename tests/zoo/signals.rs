//! Sets and actions of signals, as the kernel lays them out.

use std::io;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use crate::kernel::{at, call, into};

/// A `struct sigaction` of the kernel (not of libc): handler, flags, restorer, mask.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// Address, or SIG_DFL (0) or SIG_IGN (1).
    pub handler: usize,
    /// `SA_*`.
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: usize,
    /// Signals blocked meanwhile.
    pub mask: u64,
}

/// The bit of a signal in a set.
pub const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// The action of a signal.
pub fn action(signal: i32) -> io::Result<Action> {
    let mut action = Action::default();
    call(libc::SYS_rt_sigaction, &[signal as usize, 0, into(&mut action), 8]).map(|_| action)
}

/// Blocks these signals for this thread.
pub fn block(set: u64) -> io::Result<()> {
    call(libc::SYS_rt_sigprocmask, &[libc::SIG_BLOCK as usize, at(&set), 0, 8]).map(drop)
}

/// The signals this thread blocks.
pub fn blocked() -> io::Result<u64> {
    let mut set = 0;
    call(libc::SYS_rt_sigprocmask, &[0, 0, into(&mut set), 8]).map(|_| set)
}

/// Sets a handler with libc, which brings the restorer.
pub fn handle(signal: i32, handler: usize, flags: i32, mask: u64) -> io::Result<()> {
    // SAFETY: all zeros is a valid action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    for other in (1..=64).filter(|other| mask & bit(*other) != 0) {
        // SAFETY: the set lives through the call.
        unsafe { libc::sigaddset(&raw mut action.sa_mask, other) };
    }
    // SAFETY: the action lives through the call, and its handler for as long as the process.
    crate::kernel::checked(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) }).map(drop)
}

/// How often [`count`] was called, the last signal, and the last value that came with one.
pub static COUNT: AtomicU32 = AtomicU32::new(0);
/// See [`COUNT`].
pub static LAST: AtomicU32 = AtomicU32::new(0);
/// See [`COUNT`].
pub static VALUE: AtomicI64 = AtomicI64::new(0);

/// A handler (SA_SIGINFO) that counts.
pub extern "C" fn count(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    COUNT.fetch_add(1, Ordering::SeqCst);
    LAST.store(signal as u32, Ordering::SeqCst);
    if !info.is_null() {
        // SAFETY: the kernel gives a siginfo to a handler that asked for one.
        VALUE.store(unsafe { (*info).si_value().sival_ptr as i64 }, Ordering::SeqCst);
    }
}
