//! A user is told no more of another's processes than /proc tells: their pids and names.

use std::os::unix::fs::MetadataExt;

use dormouse_wire::{Graph, Node};

/// Takes away which descriptors other users' processes have at the other end of a tie.
pub fn redact(graph: &mut Graph, user: u32) {
    let foreign: Vec<bool> = graph.nodes.iter().map(|node| is_foreign(node, user)).collect();
    for edge in &mut graph.edges {
        if foreign.get(edge.from).copied().unwrap_or(true) {
            edge.from_end = None;
        }
        if foreign.get(edge.to).copied().unwrap_or(true) {
            edge.to_end = None;
        }
    }
}

fn is_foreign(node: &Node, user: u32) -> bool {
    match node {
        // The folder belongs to the effective user, proc_pid(5). Whoever is gone has nothing to hide.
        Node::Process { name, .. } => {
            std::fs::metadata(format!("/proc/{}", name.pid)).is_ok_and(|found| found.uid() != user)
        }
        Node::Thing { .. } => false,
    }
}
