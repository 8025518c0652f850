//! Memory protection keys, pkeys(7): which of them a process holds, and the one that the kernel holds for memory that may
//! only be executed. What a key forbids stands in a register of each thread (PKRU).

// zoo: protection_keys

use serde::{Deserialize, Serialize};

use super::mapping::Mapping;
use crate::arguments;
use crate::puppet::{Batch, Call};

/// The highest key there is; 0 is everybody's.
pub const LAST: u32 = 15;

/// The keys of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectionKeys {
    /// Those it has by pkey_alloc(2): bit n for key n.
    pub allocated: u32,
    /// The key that the kernel took for memory with PROT_EXEC alone.
    pub execute_only: Option<u32>,
}

/// What was asked of the process.
#[derive(Debug)]
pub struct Asked(Vec<(u32, Call)>);

/// Asks which keys it has. The kernel looks at the key before it looks for memory, and where we ask there can be none:
/// EINVAL for a key that the process does not have, ENOMEM for one that it has.
pub fn ask(batch: &mut Batch) -> Asked {
    let nowhere = -0x10000i64;
    let ask = |key| (key, batch.ask(libc::SYS_pkey_mprotect, arguments![nowhere, 4096, libc::PROT_READ, key]));
    Asked((1..=LAST).map(ask).collect())
}

/// The record.
pub fn answer(asked: &Asked, batch: &Batch, mappings: &[Mapping]) -> ProtectionKeys {
    let is_held = |(_, call): &&(u32, Call)| batch.result(*call) == Err(crate::kernel::Errno::ENOMEM);
    let allocated = asked.0.iter().filter(is_held).map(|(key, _)| 1 << key).sum();
    let execute_only =
        mappings.iter().find(|mapping| is_execute_only(mapping) && allocated & 1 << mapping.protection_key == 0);
    ProtectionKeys { allocated, execute_only: execute_only.map(|mapping| mapping.protection_key) }
}

/// Whether a mapping has a key, and one such as the kernel would have given it.
fn is_execute_only(mapping: &Mapping) -> bool {
    mapping.protection == libc::PROT_EXEC && mapping.protection_key != 0
}

impl ProtectionKeys {
    /// Whether the kernel gives this mapping its key.
    pub fn are_the_kernels(&self, mapping: &Mapping) -> bool {
        is_execute_only(mapping) && self.execute_only == Some(mapping.protection_key)
    }

    /// Whether there are any, in the process or on its mappings.
    pub fn are_used(&self, mappings: &[Mapping]) -> bool {
        self.needed(mappings) != 0
    }

    /// Keys that must be there while the mappings get theirs: a process can have given one back (pkey_free(2)) that still
    /// protects a mapping.
    fn needed(&self, mappings: &[Mapping]) -> u32 {
        let of_mappings = mappings.iter().fold(0, |keys, mapping| keys | 1 << mapping.protection_key.min(LAST));
        (self.allocated | of_mappings | self.execute_only.map_or(0, |key| 1 << key.min(LAST))) & !1
    }
}

/// Takes all keys up to the last one that is needed, in order, for the kernel always gives the lowest that is free. The
/// kernel's own is taken by what makes the kernel take it.
pub fn take(record: &ProtectionKeys, mappings: &[Mapping], batch: &mut Batch) {
    for key in 1..=highest(record.needed(mappings)) {
        let first = mappings.iter().find(|mapping| Some(key) == record.execute_only && record.are_the_kernels(mapping));
        match first {
            Some(mapping) => mapping.protect(record, batch),
            None => {
                batch.must(format!("take protection key {key}"), libc::SYS_pkey_alloc, arguments![0, 0]);
            }
        }
    }
}

/// Gives back those that the process does not have, when all mappings have theirs.
pub fn give_back(record: &ProtectionKeys, mappings: &[Mapping], batch: &mut Batch) {
    for key in 1..=highest(record.needed(mappings)) {
        if record.allocated & 1 << key == 0 && record.execute_only != Some(key) {
            batch.must(format!("give back protection key {key}"), libc::SYS_pkey_free, arguments![key]);
        }
    }
}

fn highest(keys: u32) -> u32 {
    keys.checked_ilog2().unwrap_or(0)
}
