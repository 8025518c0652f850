//! What the kernel does for a thread when it ends or is preempted: the list of robust futexes, get_robust_list(2); the
//! word it clears, set_tid_address(2); restartable sequences, rseq(2).

// zoo: rseq ia32

use dormouse_wire::Tid;
use serde::{Deserialize, Serialize};

use crate::arguments;
use crate::kernel::Answer;
use crate::kernel::ptrace::{self, RestartableSequences};
use crate::puppet::{Batch, Call, Slot};

/// A thread's registrations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Futexes {
    /// Head of the robust list; 0: none.
    pub robust_list: u64,
    /// Length of the head in bytes.
    pub robust_length: u64,
    /// The word that is cleared and woken at the thread's end; 0: none.
    pub clear_child_tid: u64,
    /// Its rseq area.
    pub restartable_sequences: RestartableSequences,
    /// Head of the robust list that it has registered as 32-bit programs do, `struct compat_robust_list_head`; 0: none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub narrow_robust_list: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_none(head: &u32) -> bool {
    *head == 0
}

/// System calls of 32-bit programs.
const SET_ROBUST_LIST: i64 = 311;
const GET_ROBUST_LIST: i64 = 312;

/// The length of the head in their memory.
const NARROW_HEAD: u32 = 12;

/// What was asked.
#[derive(Debug)]
pub struct Asked {
    robust: Call,
    head: Slot,
    length: Slot,
    clear: Call,
    address: Slot,
    narrow: Option<(Call, Slot)>,
}

/// Asks the thread; `narrow`: also for what only 32-bit programs have.
pub fn ask(batch: &mut Batch, narrow: bool) -> Asked {
    const PR_GET_TID_ADDRESS: i32 = 40;
    let (head, length, address) = (batch.space(8), batch.space(8), batch.space(8));
    Asked {
        robust: batch.ask(libc::SYS_get_robust_list, arguments![0, head, length]),
        head,
        length,
        clear: batch.ask(libc::SYS_prctl, arguments![PR_GET_TID_ADDRESS, address]),
        address,
        narrow: narrow.then(|| {
            let (head, length) = (batch.space(4), batch.space(4));
            (batch.ask_ia32(GET_ROBUST_LIST, arguments![0, head, length]), head)
        }),
    }
}

/// The record.
pub fn answer(asked: &Asked, batch: &Batch, thread: Tid) -> Answer<Futexes> {
    batch.result(asked.robust)?;
    // EINVAL: a kernel without CONFIG_CHECKPOINT_RESTORE.
    batch.result(asked.clear)?;
    let narrow = asked.narrow.map(|(call, head)| batch.result(call).map(|_| batch.read_u32(head, 0))).transpose()?;
    Ok(Futexes {
        robust_list: batch.read_u64(asked.head, 0),
        robust_length: batch.read_u64(asked.length, 0),
        clear_child_tid: batch.read_u64(asked.address, 0),
        restartable_sequences: ptrace::restartable_sequences(thread)?,
        narrow_robust_list: narrow.unwrap_or(0),
    })
}

/// Gives them back.
pub fn restore(record: &Futexes, batch: &mut Batch) {
    batch.must(
        "set the word that is cleared at its end",
        libc::SYS_set_tid_address,
        arguments![record.clear_child_tid],
    );
    if record.robust_list != 0 {
        batch.must(
            "register the list of robust futexes",
            libc::SYS_set_robust_list,
            arguments![record.robust_list, record.robust_length],
        );
    }
    if record.narrow_robust_list != 0 {
        batch.must_ia32(
            "register the list of robust futexes of a 32-bit program",
            SET_ROBUST_LIST,
            arguments![u64::from(record.narrow_robust_list), NARROW_HEAD],
        );
    }
    let area = record.restartable_sequences;
    if area.address != 0 {
        batch.must(
            "register the restartable sequences",
            libc::SYS_rseq,
            arguments![area.address, area.length, 0, area.signature],
        );
    }
}

/// Takes the registration of the engine's own area out of a process that was copied from the engine: its memory is
/// about to vanish, and the kernel kills a process whose area it cannot reach.
pub fn unregister(area: RestartableSequences, batch: &mut Batch) {
    const RSEQ_FLAG_UNREGISTER: i32 = 1;
    if area.address != 0 {
        batch.must(
            "unregister the restartable sequences",
            libc::SYS_rseq,
            arguments![area.address, area.length, RSEQ_FLAG_UNREGISTER, area.signature],
        );
    }
}
