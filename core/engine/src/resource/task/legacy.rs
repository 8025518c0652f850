//! What few programs have and none can be given back: rights on I/O ports (ioperm(2)), key rings of a process's or a thread's own,
//! keyrings(7).

// zoo: key_ring

use dormouse_wire::{Phrase, Problem, ProblemKind, Tid, phrase};

use crate::arguments;
use crate::kernel::ptrace;
use crate::puppet::{Batch, Call};

/// What was asked of a thread.
#[derive(Debug)]
pub struct Asked {
    key_rings: [Call; 2],
}

/// Asks a thread.
pub fn ask(batch: &mut Batch) -> Asked {
    const GET_KEYRING_ID: i32 = 0;
    const THREAD: i32 = -1;
    const PROCESS: i32 = -2;
    let ring = |ring: i32, batch: &mut Batch| batch.ask(libc::SYS_keyctl, arguments![GET_KEYRING_ID, ring, 0]);
    Asked { key_rings: [ring(THREAD, batch), ring(PROCESS, batch)] }
}

/// What of it stands in the way.
pub fn judge(asked: &Asked, batch: &Batch, thread: Tid) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |what: Phrase| {
        problems.push(Problem::blocks(ProblemKind::Processor, what).way_out(phrase!("Pause the group instead")));
    };
    if ptrace::has_io_ports(thread) {
        refuse(phrase!("it has rights on I/O ports (ioperm), which cannot be given back"));
    }
    if asked.key_rings.iter().any(|call| batch.result(*call).is_ok()) {
        let what = phrase!("it has a key ring of its own (keyrings(7))");
        problems.push(Problem::loses(
            ProblemKind::Credentials,
            what,
            phrase!("the keys that are in no other key ring"),
        ));
    }
    problems
}
