//! Ctrl-C, and its like, as a wish and not as an end: the work looks for it between two steps and undoes itself.
//!
//! The signals are blocked, and wait in a signalfd(2) that is read when somebody asks. Threads started later inherit
//! the mask; so this is set up before there are any.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::exit::Failure;

/// The signals by which a person or the system asks for an end.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// As long as this lives, the signals do not end the command.
#[derive(Debug)]
pub struct Interrupt {
    signals: SignalFd,
    before: SigSet,
    seen: AtomicBool,
}

impl Interrupt {
    /// Begins to watch.
    pub fn watch() -> Result<Self, Failure> {
        let failed = |errno: Errno| Failure::system("Signals cannot be watched", &errno.into());
        let ending: SigSet = ENDING.into_iter().collect();
        // Ctrl-Z waits until the work is done: nobody should stop half-way with other people's processes in hand.
        let mut blocked = ending;
        blocked.add(Signal::SIGTSTP);
        let before = SigSet::thread_get_mask().map_err(failed)?;
        blocked.thread_block().map_err(failed)?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = SignalFd::with_flags(&ending, flags).map_err(|errno| {
            let _ = before.thread_set_mask();
            failed(errno)
        })?;
        Ok(Self { signals, before, seen: AtomicBool::new(false) })
    }

    /// Whether an end has been asked for, now or at any time since the watch began.
    pub fn requested(&self) -> bool {
        if matches!(self.signals.read_signal(), Ok(Some(_))) {
            self.seen.store(true, Ordering::Relaxed);
        }
        self.seen.load(Ordering::Relaxed)
    }

    /// Waits so long, or until an end is asked for; says whether it was.
    pub fn requested_within(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while !self.requested() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let _ = wait_for(&[self.signals.as_fd()], left);
        }
        true
    }

    /// Waits until `input` can be read or an end is asked for; says whether it was.
    pub fn requested_before(&self, input: BorrowedFd<'_>) -> bool {
        while !self.requested() {
            if wait_for(&[self.signals.as_fd(), input], Duration::MAX).get(1).is_none_or(|&ready| ready) {
                return self.requested();
            }
        }
        true
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        // One that came when the work was done already has nothing left to undo.
        while matches!(self.signals.read_signal(), Ok(Some(_))) {}
        let _ = self.before.thread_set_mask();
    }
}

/// Which of the files can be read, after waiting for one of them. Nothing when the waiting itself fails.
fn wait_for(files: &[BorrowedFd<'_>], time: Duration) -> Vec<bool> {
    let mut polled: Vec<PollFd<'_>> = files.iter().map(|file| PollFd::new(*file, PollFlags::POLLIN)).collect();
    // Rounded up: a wait for less than a millisecond is not a busy one.
    let timeout = PollTimeout::try_from(time.saturating_add(Duration::from_micros(999))).unwrap_or(PollTimeout::NONE);
    match poll(&mut polled, timeout) {
        Ok(_) => polled.iter().map(|file| file.revents().is_some_and(|events| !events.is_empty())).collect(),
        Err(Errno::EINTR) => vec![false; files.len()],
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::signal::{Signal, raise};

    use super::Interrupt;

    #[test]
    fn an_interrupt_is_a_wish_that_stays() {
        let interrupt = Interrupt::watch().expect("signals can be watched");
        assert!(!interrupt.requested_within(Duration::from_millis(5)));
        raise(Signal::SIGINT).expect("a signal can be sent");
        assert!(interrupt.requested_within(Duration::from_secs(5)));
        assert!(interrupt.requested());
        raise(Signal::SIGTERM).expect("a signal can be sent");
        drop(interrupt);
    }
}
