//! What chooses which packets and messages reach a socket: a classic BPF program, SO_ATTACH_FILTER of socket(7), as libudev, for
//! one, has it. eBPF programs (SO_ATTACH_BPF) the kernel does not show.

// zoo: socket_filters socket_filter_extended

use std::os::fd::AsFd;

use dormouse_wire::{Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::FileFacts;
use crate::kernel::{Answer, Errno, socket};

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// `struct sock_filter`s, as they were given to the kernel.
    pub program: ByteBuf,
    /// It cannot be changed any more, SO_LOCK_FILTER.
    pub locked: bool,
}

/// Size of a `struct sock_filter`, bytes, and how many of them there can be, BPF_MAXINSNS.
const INSTRUCTION: usize = 8;
const MOST: usize = 4096;

/// Why the filter of a socket cannot be kept.
pub fn judge(kind: ProblemKind, facts: &FileFacts) -> Option<Problem> {
    let errno = match socket::filter(&facts.file) {
        Ok(_) | Err(Errno::ENOPROTOOPT | Errno::EOPNOTSUPP) => return None,
        Err(errno) => errno,
    };
    let what = match errno {
        Errno::EACCES => {
            phrase!("an eBPF program filters what it takes in (SO_ATTACH_BPF), which the kernel does not show")
        }
        errno => phrase!("what filters it cannot be told: {why}", why = errno.desc()),
    };
    Some(facts.problem(kind, what).way_out(phrase!("Pause the group instead")))
}

impl Filter {
    /// That of a socket, if it has one.
    pub fn capture(of: &impl AsFd) -> Answer<Option<Self>> {
        match socket::filter(of) {
            Ok(program) if program.is_empty() => Ok(None),
            Ok(program) => {
                let locked = socket::option(of, libc::SO_LOCK_FILTER)? != 0;
                Ok(Some(Self { program: ByteBuf::from(program), locked }))
            }
            Err(Errno::ENOPROTOOPT | Errno::EOPNOTSUPP) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Gives it to a socket that has all it is to have by then.
    pub fn restore(&self, made: &impl AsFd) -> Answer<()> {
        let length = self.program.len();
        if !length.is_multiple_of(INSTRUCTION) || length > MOST * INSTRUCTION {
            return Err(Errno::EINVAL);
        }
        socket::attach_filter(made, &self.program)?;
        if self.locked { socket::set_option(made, libc::SO_LOCK_FILTER, 1) } else { Ok(()) }
    }
}
