//! Why a puppet did not do what it was told.

use std::fmt;

use dormouse_wire::{Phrase, Tid, phrase};

use super::batch::FailedCall;
use crate::kernel::Errno;
use crate::kernel::ptrace;

/// Why a puppet did not do what it was told.
#[derive(Debug)]
pub enum PuppetError {
    /// A call that had to succeed did not.
    Call(FailedCall),
    /// The thread is gone: it was killed from outside.
    Ended,
    /// The thread does not run: its control group was frozen.
    Frozen(Tid),
    /// The thread takes too long.
    Stuck(Tid),
    /// The thread took a signal that only a fault of the engine's code or the machine explains.
    Fault(i32),
    /// Tracing or reading failed.
    Kernel {
        /// What failed, as words that follow "cannot".
        what: &'static str,
        /// Why.
        errno: Errno,
    },
    /// A batch holds one call whose data alone does not fit on the desk.
    TooLarge,
}

impl PuppetError {
    /// What it is; the step at which it happened is named as system calls are, in English.
    pub fn said(&self) -> Phrase {
        match self {
            Self::Call(FailedCall { purpose, errno }) => {
                phrase!("cannot {step}: {why}", step = purpose, why = errno.desc())
            }
            Self::Ended => phrase!("the thread ended while the engine worked in it"),
            Self::Frozen(tid) => phrase!("its control group was frozen while Dormouse worked in thread {tid}", tid),
            Self::Stuck(tid) => {
                phrase!("thread {tid} has not done what Dormouse had it do: it gets no processor, or waits", tid)
            }
            Self::Fault(signal) => {
                let signal = ptrace::signal_name(*signal);
                phrase!("the thread met {signal} while the engine worked in it", signal)
            }
            Self::Kernel { what, errno } => phrase!("cannot {step}: {why}", step = what, why = errno.desc()),
            Self::TooLarge => phrase!("a system call needs more room than the engine's pages in the process have"),
        }
    }
}

impl fmt::Display for PuppetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said())
    }
}

impl std::error::Error for PuppetError {}

/// Names what failed.
pub fn kernel(what: &'static str) -> impl Fn(Errno) -> PuppetError {
    move |errno| if errno == Errno::ESRCH { PuppetError::Ended } else { PuppetError::Kernel { what, errno } }
}
