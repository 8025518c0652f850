//! The unix sockets of a group as `ss` lists them in every network namespace of its processes, held against the graph.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Stdio};

use dormouse_wire::Node;

use crate::said::Said;
use crate::scene::done;

/// Who holds which socket, by which descriptor.
type Holders = BTreeMap<u64, BTreeSet<(i32, String)>>;

/// Each socket of a member whose other end another process holds is an end in the graph.
pub fn are_told(said: &Said) -> Result<(), String> {
    let members: BTreeSet<i32> = said.checked.processes.iter().map(|process| process.pid.0).collect();
    let holders = holders();
    let graph = &said.checked.graph;
    let ends = graph.edges.iter().flat_map(|edge| [(edge.from, &edge.from_end), (edge.to, &edge.to_end)]);
    let told: BTreeSet<(i32, String)> = ends
        .filter_map(|(place, end)| match &graph.nodes[place] {
            Node::Process { name, .. } => Some((name.pid.0, end.clone()?)),
            Node::Thing { .. } => None,
        })
        .collect();
    let mut held = 0;
    for (own, other) in connected(&members) {
        let (Some(here), Some(there)) = (holders.get(&own), holders.get(&other)) else { continue };
        let pids: BTreeSet<i32> = here.iter().chain(there).map(|(pid, _)| *pid).collect();
        for (pid, end) in here.iter().filter(|(pid, _)| pids.len() > 1 && members.contains(pid)) {
            held += 1;
            if !told.contains(&(*pid, end.clone())) {
                return Err(format!("{end} of {pid}, connected to {other}, is not told"));
            }
        }
    }
    if held < members.len() { Err(format!("only {held} ends are held")) } else { Ok(()) }
}

fn holders() -> Holders {
    let mut holders = Holders::new();
    let pids = done(fs::read_dir("/proc")).flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for pid in pids {
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            let link = fs::read_link(entry.path()).unwrap_or_default().display().to_string();
            let inode = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode {
                let end = format!("descriptor {}", entry.file_name().display());
                holders.entry(inode).or_default().insert((pid, end));
            }
        }
    }
    holders
}

/// Sockets that are connected, by inode, with their peers.
fn connected(members: &BTreeSet<i32>) -> BTreeSet<(u64, u64)> {
    let mut connected = BTreeSet::new();
    let networks: BTreeMap<_, i32> =
        (members.iter()).filter_map(|pid| Some((fs::read_link(format!("/proc/{pid}/ns/net")).ok()?, *pid))).collect();
    for pid in networks.values() {
        let mut ss = Command::new("nsenter");
        ss.arg(format!("--net=/proc/{pid}/ns/net")).args(["ss", "-xanH"]).stdin(Stdio::null());
        for line in String::from_utf8_lossy(&done(ss.output()).stdout).lines() {
            // Type, state, two lengths, own address and inode, the other's.
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, "ESTAB", _, _, _, own, _, peer, ..] = words[..] else { continue };
            if let (Ok(own), Ok(peer)) = (own.parse(), peer.parse()) {
                connected.insert((own, peer));
            }
        }
    }
    connected
}
