//! Groups that cannot be cut from each other become one.
//!
//! The rules are those by which a freeze takes others along ([`crate::survey::connect`]), seen from outside: who shares a
//! pipe, a pair of sockets, memory, a table of descriptors or a working directory (clone(2)), and who traces whom. A terminal joins nobody here: a terminal emulator and the
//! jobs in it are groups of their own. Neither do init and whoever asks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use dormouse_wire::{Graph, Joined, Node, Pid, Strength, ThingKind};

use super::{Group, INIT};
use crate::survey::everyone::Process;

/// Joins those of the groups that something in the graph ties together. `asker`: the process that wants to know; its
/// ancestors are left where they are, for they are not put to sleep with others.
pub fn joined<'a>(groups: Vec<Group<'a>>, graph: &Graph, asker: Pid) -> Vec<Group<'a>> {
    let mut places: HashMap<Pid, usize> = HashMap::new();
    let parents: HashMap<Pid, Pid> = of_all(&groups).map(|(_, process)| (process.pid, process.parent)).collect();
    let above: HashSet<Pid> = ancestors(asker, &parents);
    for (place, process) in of_all(&groups).filter(|(_, process)| !above.contains(&process.pid)) {
        places.insert(process.pid, place);
    }
    let mut leaders: Vec<usize> = (0..groups.len()).collect();
    let mut ties: BTreeMap<usize, String> = BTreeMap::new();
    for (name, pids) in bonds(graph) {
        let parts: BTreeSet<usize> = pids.iter().filter_map(|pid| places.get(pid).copied()).collect();
        let Some(first) = parts.first().copied() else { continue };
        for part in parts.iter().skip(1) {
            let (one, other) = (leader(&leaders, first), leader(&leaders, *part));
            leaders[one.max(other)] = one.min(other);
            ties.entry(first).or_insert_with(|| name.clone());
            ties.entry(*part).or_insert_with(|| name.clone());
        }
    }
    let mut parts: BTreeMap<usize, Vec<(usize, Group<'a>)>> = BTreeMap::new();
    for (place, group) in groups.into_iter().enumerate() {
        parts.entry(leader(&leaders, place)).or_default().push((place, group));
    }
    parts.into_values().filter_map(|parts| whole(parts, &ties)).collect()
}

fn of_all<'g, 'a>(groups: &'g [Group<'a>]) -> impl Iterator<Item = (usize, &'a Process)> + 'g {
    let members = |(place, group): (usize, &'g Group<'a>)| group.members.iter().map(move |process| (place, *process));
    groups.iter().enumerate().flat_map(members)
}

fn ancestors(pid: Pid, parents: &HashMap<Pid, Pid>) -> HashSet<Pid> {
    let mut above = HashSet::from([INIT]);
    let mut next = Some(pid);
    // Two surveys of one pid could make a ring.
    while let Some(pid) = next.filter(|pid| above.insert(*pid)) {
        next = parents.get(&pid).copied();
    }
    above
}

fn leader(leaders: &[usize], mut place: usize) -> usize {
    while leaders[place] != place {
        place = leaders[place];
    }
    place
}

/// Who cannot be cut from whom, and by what.
fn bonds(graph: &Graph) -> Vec<(String, Vec<Pid>)> {
    let process = |place: usize| match graph.nodes.get(place) {
        Some(Node::Process { name, .. }) => Some(name.pid),
        _ => None,
    };
    let mut holders: BTreeMap<usize, Vec<Pid>> = BTreeMap::new();
    let mut bonds = Vec::new();
    for edge in graph.edges.iter().filter(|edge| edge.strength == Strength::Strong) {
        match (process(edge.from), process(edge.to)) {
            // Nothing else ties processes to each other without a thing between them.
            (Some(tracer), Some(traced)) => {
                bonds.push((format!("pid {tracer} traces pid {traced}"), vec![tracer, traced]));
            }
            (Some(pid), None) => holders.entry(edge.to).or_default().push(pid),
            (None, Some(pid)) => holders.entry(edge.from).or_default().push(pid),
            (None, None) => {}
        }
    }
    for (place, pids) in holders {
        match graph.nodes.get(place) {
            None | Some(Node::Process { .. } | Node::Thing { kind: ThingKind::Terminal | ThingKind::Fifo, .. }) => {}
            Some(Node::Thing { kind, name }) => bonds.push((format!("{} {name}", kind.shown()), pids)),
        }
    }
    bonds
}

/// The app among them gives the name, else the service, else the eldest session.
fn whole<'a>(mut parts: Vec<(usize, Group<'a>)>, ties: &BTreeMap<usize, String>) -> Option<Group<'a>> {
    parts.sort_by_key(|(_, group)| (group.kind, group.first.start_time, group.first.pid));
    let mut parts = parts.into_iter();
    let (_, mut whole) = parts.next()?;
    for (place, part) in parts {
        let through = ties.get(&place).cloned().unwrap_or_default();
        whole.joined.push(Joined { id: part.id, through });
        whole.members.extend(part.members);
    }
    let first = whole.first.pid;
    whole.members.sort_by_key(|process| (process.pid != first, process.start_time, process.pid));
    Some(whole)
}

#[cfg(test)]
mod tests {
    use dormouse_wire::{Edge, EdgeKind, GroupKind, ProcessName};

    use super::*;
    use crate::survey::groups;

    /// Processes in sessions of their own, the first one init's child and each other one its child.
    fn processes(count: i32) -> Vec<Process> {
        let parent = |pid| Pid(if pid == 10 { 1 } else { 10 });
        (10..10 + count).map(|pid| Process { parent: parent(pid), ..Process::sample(pid, &["x"]) }).collect()
    }

    /// A thing, and what which processes do with it.
    type Thing<'a> = (ThingKind, Strength, &'a [(i32, EdgeKind)]);

    fn graph(things: &[Thing<'_>]) -> Graph {
        let name = |pid| ProcessName { pid: Pid(pid), comm: "x".to_owned() };
        let mut graph = Graph::default();
        graph.nodes.extend((10..20).map(|pid| Node::Process { name: name(pid), member: false }));
        for (kind, strength, holders) in things {
            let thing = graph.nodes.len();
            graph.nodes.push(Node::Thing { kind: *kind, name: format!("thing {thing}") });
            for (pid, kind) in *holders {
                let process = (pid - 10) as usize;
                let (kind, strength) = (*kind, *strength);
                graph.edges.push(Edge { from: process, to: thing, kind, strength, from_end: None, to_end: None });
            }
        }
        graph
    }

    /// The pids of each group.
    fn sorted(processes: &[Process], graph: &Graph, asker: i32) -> Vec<Vec<i32>> {
        let joined = joined(groups::of(processes), graph, Pid(asker));
        joined.iter().map(|group| group.members.iter().map(|process| process.pid.0).collect()).collect()
    }

    #[test]
    fn who_shares_a_pipe_or_memory_is_one_group_and_says_why() {
        let (holds, strong) = (EdgeKind::Holds, Strength::Strong);
        let graph = graph(&[
            (ThingKind::Pipe, strong, &[(11, holds), (12, holds)]),
            (ThingKind::SharedMemory, strong, &[(14, holds), (12, holds)]),
            (ThingKind::Terminal, strong, &[(13, holds), (12, holds)]),
            (ThingKind::Service, Strength::Weak, &[(13, holds), (12, holds)]),
        ]);
        let processes = processes(5);
        assert_eq!(sorted(&processes, &graph, 10), [vec![10], vec![11, 12, 14], vec![13]]);
        let joined = joined(groups::of(&processes), &graph, Pid(10));
        assert_eq!((joined[1].id.as_str(), joined[1].kind), ("session-11", GroupKind::Session));
        let why: Vec<_> = joined[1].joined.iter().map(|part| (part.id.as_str(), part.through.as_str())).collect();
        assert_eq!(why, [("session-12", "pipe thing 10"), ("session-14", "shared memory thing 11")]);
    }

    #[test]
    fn a_debugger_is_one_group_with_what_it_traces() {
        let mut graph = graph(&[]);
        let (kind, strength) = (EdgeKind::Tracer, Strength::Strong);
        graph.edges.push(Edge { from: 1, to: 2, kind, strength, from_end: None, to_end: None });
        let processes = processes(4);
        assert_eq!(sorted(&processes, &graph, 10), [vec![10], vec![11, 12], vec![13]]);
        let joined = joined(groups::of(&processes), &graph, Pid(10));
        assert_eq!(joined[1].joined[0].through, "pid 11 traces pid 12");
    }

    #[test]
    fn those_above_whoever_asks_stay_where_they_are() {
        let holds = EdgeKind::Holds;
        let graph =
            graph(&[(ThingKind::Pipe, Strength::Strong, &[(10, holds), (11, holds), (12, holds), (13, holds)])]);
        let processes = processes(4);
        assert_eq!(sorted(&processes, &graph, 13), [vec![10], vec![11, 12], vec![13]]);
        assert_eq!(sorted(&processes, &graph, 99), [[10, 11, 12, 13]]);
    }
}
