//! The system call a thread is in: `/proc/PID/task/TID/syscall`, proc_pid_syscall(5). It needs a kernel with
//! `CONFIG_HAVE_ARCH_TRACEHOOK` and ptrace access with attach rights.

use serde::{Deserialize, Serialize};

use super::text::{self, Unreadable};

/// The value of one `syscall` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum InSyscall {
    /// `running`: it has the processor, or could.
    Running,
    /// Number -1: it stands still, but not in a system call: a page fault, a signal or a tracer stopped it.
    Outside {
        /// The stack pointer.
        stack: u64,
        /// The program counter.
        program: u64,
    },
    /// It sleeps in a system call.
    Inside {
        /// The number of the call.
        number: i64,
        /// What it was called with.
        arguments: [u64; 6],
        /// The stack pointer.
        stack: u64,
        /// The program counter, behind the call.
        program: u64,
    },
}

/// The value of `/proc/PID/task/TID/syscall`.
pub fn parse(bytes: &[u8]) -> Result<InSyscall, Unreadable> {
    in_syscall(bytes).ok_or_else(|| Unreadable::line(bytes))
}

/// `running`, `-1 SP PC` or `NUMBER ARGUMENT… SP PC`
fn in_syscall(bytes: &[u8]) -> Option<InSyscall> {
    let mut words = text::words(bytes);
    let number = match words.next()? {
        b"running" => return words.next().is_none().then_some(InSyscall::Running),
        number => text::decimal(number)?,
    };
    let values: Vec<u64> = words.map(text::prefixed_hexadecimal).collect::<Option<_>>()?;
    let (arguments, &[stack, program]) = values.split_last_chunk()?;
    match *arguments {
        [] if number == -1 => Some(InSyscall::Outside { stack, program }),
        _ => Some(InSyscall::Inside { number, arguments: arguments.try_into().ok()?, stack, program }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::{self, ProcError};

    #[test]
    fn the_three_forms_are_read() {
        assert_eq!(parse(b"running\n"), Ok(InSyscall::Running));
        let outside = InSyscall::Outside { stack: 0x7fff_d538_edc8, program: 0x7f94_8631_12ad };
        assert_eq!(parse(b"-1 0x7fffd538edc8 0x7f94863112ad\n"), Ok(outside));
        let inside = InSyscall::Inside {
            number: 230,
            arguments: [3, 0x7f94_8619_6000, 0x20000, 0x22, 0xffff_ffff, 0],
            stack: 0x7fff_d538_edc8,
            program: 0x7f94_8631_12ad,
        };
        let line = b"230 0x3 0x7f9486196000 0x20000 0x22 0xffffffff 0x0 0x7fffd538edc8 0x7f94863112ad\n";
        assert_eq!(parse(line), Ok(inside));
    }

    #[test]
    fn a_line_that_is_cut_is_refused() {
        assert!(parse(b"").is_err());
        assert!(parse(b"0 0x3 0x7f9486196000\n").is_err());
        assert!(parse(b"-1 0x3 7\n").is_err());
    }

    #[test]
    fn every_live_thread_can_be_read() -> Result<(), ProcError> {
        for pid in proc::list_pids()? {
            match proc::parsed_thread(pid, pid.leader(), "syscall", parse) {
                Err(ProcError::Gone | ProcError::Denied { .. } | ProcError::Missing { .. }) => {}
                call => drop(call?),
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "-?[0-9]{1,3}( 0x[0-9a-f]{0,17}){0,9}") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
        }
    }
}
