//! On which nodes memory is put, numa(7): the policy of a thread, set_mempolicy(2), and those of mappings, mbind(2).

// zoo: memory_policy

use serde::{Deserialize, Serialize};

use super::mapping::Mapping;
use crate::arguments;
use crate::puppet::{Batch, Call, Slot};

/// A policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPolicy {
    /// MPOL_* with its flags.
    pub mode: u32,
    /// Its nodes, a bit each.
    pub nodes: u64,
}

/// Nodes that can be named; the kernel counts one more.
const NODES: u64 = 64;

/// What was asked.
#[derive(Debug)]
pub struct Asked {
    call: Call,
    mode: Slot,
    nodes: Slot,
}

/// Asks a thread for its own.
pub fn ask_thread(batch: &mut Batch) -> Asked {
    ask(0, 0, batch)
}

/// Asks a process for those of its mappings, by where they start.
pub fn ask_mappings(starts: impl Iterator<Item = u64>, batch: &mut Batch) -> Vec<(u64, Asked)> {
    const MPOL_F_ADDR: i32 = 1 << 1;
    starts.map(|start| (start, ask(start, MPOL_F_ADDR, batch))).collect()
}

fn ask(address: u64, flags: i32, batch: &mut Batch) -> Asked {
    let (mode, nodes) = (batch.space(4), batch.space(8));
    let call = batch.ask(libc::SYS_get_mempolicy, arguments![mode, nodes, NODES + 1, address, flags]);
    Asked { call, mode, nodes }
}

/// The policy; none where it is the default, or the kernel knows no nodes.
pub fn answer(asked: &Asked, batch: &Batch) -> Option<MemoryPolicy> {
    batch.result(asked.call).ok()?;
    let policy = MemoryPolicy { mode: batch.read_u32(asked.mode, 0), nodes: batch.read_u64(asked.nodes, 0) };
    (policy.mode != 0).then_some(policy)
}

/// Those of the mappings.
pub fn answer_mappings(asked: &[(u64, Asked)], batch: &Batch, mappings: &mut [Mapping]) {
    for (start, asked) in asked {
        if let (Some(policy), Ok(place)) =
            (answer(asked, batch), mappings.binary_search_by_key(start, |found| found.start))
        {
            mappings[place].policy = Some(policy);
        }
    }
}

/// Gives a thread its own.
pub fn restore_thread(policy: Option<MemoryPolicy>, batch: &mut Batch) {
    let Some(policy) = policy else { return };
    let nodes = batch.bytes(&policy.nodes.to_ne_bytes());
    let arguments = arguments![policy.mode, nodes, NODES + 1];
    batch.must("choose on which nodes its memory is put", libc::SYS_set_mempolicy, arguments);
}

/// Gives a mapping its own.
pub fn restore_mapping(mapping: &Mapping, batch: &mut Batch) {
    let Some(policy) = mapping.policy else { return };
    let nodes = batch.bytes(&policy.nodes.to_ne_bytes());
    let arguments = arguments![mapping.start, mapping.length(), policy.mode, nodes, NODES + 1, 0];
    batch.must("choose on which nodes a mapping is put", libc::SYS_mbind, arguments);
}
