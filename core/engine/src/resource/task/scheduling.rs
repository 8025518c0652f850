//! How a thread is scheduled: policy and parameters, sched_setattr(2); affinity, sched_setaffinity(2); I/O priority,
//! ioprio_set(2).

// zoo: scheduling

use dormouse_wire::Tid;
use serde::{Deserialize, Serialize};

use crate::arguments;
use crate::kernel::sched::{self, Attributes};
use crate::kernel::{Answer, Errno, outside};
use crate::puppet::Batch;

/// A thread's scheduling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduling {
    /// Policy, nice value, priorities, hints.
    pub attributes: Attributes,
    /// The processors it may run on, a bit mask; absent where it may run on all there were.
    #[serde(with = "serde_bytes", default)]
    pub affinity: Option<Vec<u8>>,
    /// Class and priority as ioprio_set(2) takes them; 0: none was set.
    pub io_priority: u32,
}

impl Scheduling {
    /// Whether only a mightier user can give it: sched(7), ioprio_set(2).
    pub fn is_favoured(&self) -> bool {
        are_favours(&self.attributes, self.io_priority)
    }
}

/// The same of a thread as it is, seen from outside.
pub fn is_favoured(thread: Tid) -> Answer<bool> {
    Ok(are_favours(&sched::attributes(thread)?, sched::io_priority(thread)?))
}

fn are_favours(attributes: &Attributes, io_priority: u32) -> bool {
    const REAL_TIME: u32 = 1;
    let ordinary = [libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_IDLE];
    let is_ordinary = ordinary.contains(&(attributes.policy as i32)) && attributes.nice >= 0;
    !is_ordinary || io_priority >> 13 == REAL_TIME
}

/// Reads it, from outside. `all`: the mask of [`all_processors`].
pub fn capture(thread: Tid, all: &[u8]) -> Answer<Scheduling> {
    let affinity = sched::affinity(thread)?;
    let restricted = affinity != all;
    Ok(Scheduling {
        attributes: sched::attributes(thread)?,
        affinity: restricted.then_some(affinity),
        io_priority: sched::io_priority(thread)?,
    })
}

/// The mask a thread has that nobody has restricted: the processors that are possible here. They come and go: it is good
/// for one process, whose threads may be many.
pub fn all_processors() -> Answer<Vec<u8>> {
    let possible = outside::text("/sys/devices/system/cpu/possible").map_err(|_| Errno::EIO)?;
    let mut mask = Vec::new();
    for range in possible.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let first: usize = first.parse().map_err(|_| Errno::EIO)?;
        let last: usize = last.parse().map_err(|_| Errno::EIO)?;
        for processor in first..=last {
            let byte = processor / 8;
            if mask.len() <= byte {
                mask.resize((byte + 1).next_multiple_of(8), 0);
            }
            mask[byte] |= 1u8 << (processor % 8);
        }
    }
    Ok(mask)
}

/// Gives it back.
pub fn restore(record: &Scheduling, batch: &mut Batch) {
    let attributes = batch.bytes(&record.attributes.to_bytes());
    batch.must("set the scheduling policy", libc::SYS_sched_setattr, arguments![0, attributes, 0]);
    if let Some(affinity) = &record.affinity {
        let mask = batch.bytes(affinity);
        batch.must(
            "set the processors it may run on",
            libc::SYS_sched_setaffinity,
            arguments![0, affinity.len(), mask],
        );
    }
    const WHO_PROCESS: i32 = 1;
    if record.io_priority != 0 {
        batch.must("set the I/O priority", libc::SYS_ioprio_set, arguments![WHO_PROCESS, 0, record.io_priority]);
    }
}
