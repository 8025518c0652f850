//! Syscall user dispatch: system calls of a thread that become a signal of its own (Wine uses it),
//! Documentation/admin-guide/syscall-user-dispatch.rst.

// zoo: dispatch

use dormouse_wire::Tid;

use crate::kernel::Answer;
use crate::kernel::ptrace::{self, SyscallDispatch};

/// What a thread has; none: its system calls are system calls.
pub type Dispatch = Option<SyscallDispatch>;

/// Gives it back, when the engine needs no more calls of the thread.
pub fn restore(record: Dispatch, thread: Tid) -> Answer<()> {
    record.map_or(Ok(()), |dispatch| ptrace::set_syscall_dispatch(thread, dispatch))
}
