//! System calls that the freeze has interrupted and the kernel would not restart by itself in a new thread.
//!
//! Most calls answer ERESTARTSYS or its like inside the kernel; set with the registers, that value makes the kernel
//! restart them in the thawed thread too. Two sorts need help: calls that keep their rest in the kernel
//! (ERESTART_RESTARTBLOCK: nanosleep(2), poll(2), futex(2) with a timeout), and calls that a stop turns into EINTR,
//! signal(7) (epoll_wait(2), sigtimedwait(2) and others).

use serde::{Deserialize, Serialize};

/// A call to be made good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptedCall {
    /// The number of the call.
    pub number: i64,
    /// Nanoseconds that were left of its timeout; absent: it has none.
    pub rest: Option<u64>,
}
