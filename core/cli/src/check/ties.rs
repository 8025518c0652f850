//! What ties a group together and what leads out of it, as lines for a person.

use dormouse_wire::{Edge, EdgeKind, Graph, Node, Strength};

use crate::output::{self, several};

/// The things that members hold with others, and who holds them; empty where there are none.
pub fn listed(graph: &Graph, width: usize) -> String {
    let mut text = String::new();
    for (heading, strength) in
        [("What cannot be cut:", Strength::Strong), ("What leads to services, devices and others:", Strength::Weak)]
    {
        let entries = entries(graph, strength);
        if entries.is_empty() {
            continue;
        }
        text.extend(["\n", heading, "\n"]);
        for entry in entries {
            let kind = match entry.names.len() {
                1 => entry.kind.to_owned(),
                several => format!("{several} × {}", entry.kind),
            };
            text += &output::indented(&format!("{kind} {}", several(&entry.names)), width, 2);
            text += &output::indented(&entry.who, width, 6);
        }
    }
    text
}

/// Things of one kind that the same processes hold in the same way.
struct Entry {
    kind: &'static str,
    names: Vec<String>,
    who: String,
}

fn entries(graph: &Graph, strength: Strength) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for place in 0..graph.nodes.len() {
        let Some((kind, name, who)) = row(graph, place, strength) else { continue };
        match entries.iter_mut().find(|entry| entry.kind == kind && entry.who == who) {
            Some(entry) => entry.names.push(name),
            None => entries.push(Entry { kind, names: vec![name], who }),
        }
    }
    entries
}

/// What a process does with a thing, where it goes without saying.
const USES: &[EdgeKind] = &[EdgeKind::Controls, EdgeKind::Holds, EdgeKind::Maps, EdgeKind::Shares, EdgeKind::Uses];

/// Kind, name and holders of a thing whose strongest tie is of this strength.
fn row(graph: &Graph, place: usize, strength: Strength) -> Option<(&'static str, String, String)> {
    let Node::Thing { kind, name } = &graph.nodes[place] else { return None };
    let ties: Vec<&Edge> = graph.edges.iter().filter(|edge| edge.from == place || edge.to == place).collect();
    if ties.iter().map(|edge| edge.strength).max() != Some(strength) {
        return None;
    }
    let of = |kinds: &[EdgeKind]| {
        let mut who: Vec<String> = Vec::new();
        for edge in ties.iter().filter(|edge| kinds.contains(&edge.kind)) {
            let other = if edge.from == place { edge.to } else { edge.from };
            let Node::Process { name, .. } = &graph.nodes[other] else { continue };
            // A client has a name of its own on a message bus.
            let name = match &edge.to_end {
                Some(end) if edge.kind == EdgeKind::Asks => format!("{name} as {end}"),
                _ => name.to_string(),
            };
            if !who.contains(&name) {
                who.push(name);
            }
        }
        who
    };
    let (writers, readers) = (of(&[EdgeKind::Writes]), of(&[EdgeKind::Reads]));
    let (clients, servers) = (of(&[EdgeKind::Asks]), of(&[EdgeKind::ServedBy]));
    let (drivers, users) = (of(&[EdgeKind::Drives]), of(USES));
    let (lockers, waiters) = (of(&[EdgeKind::Locks]), of(&[EdgeKind::WaitsForLock]));
    let mut parts = Vec::new();
    if !writers.is_empty() || !readers.is_empty() {
        parts.push(format!("{} → {}", several(&writers), several(&readers)));
    }
    match (clients.is_empty(), servers.is_empty()) {
        (false, false) => parts.push(format!("{}, served by {}", several(&clients), several(&servers))),
        (false, true) => parts.push(several(&clients)),
        (true, false) => parts.push(format!("served by {}", several(&servers))),
        (true, true) => {}
    }
    if !users.is_empty() {
        parts.push(several(&users));
    }
    for (who, word) in [(drivers, "driven by"), (lockers, "locked by"), (waiters, "waited for by")] {
        if !who.is_empty() {
            parts.push(format!("{word} {}", several(&who)));
        }
    }
    Some((kind.shown(), name.clone(), parts.join("; ")))
}

#[cfg(test)]
mod tests {
    use dormouse_wire::{Edge, EdgeKind, Graph, Node, Pid, ProcessName, Strength, ThingKind};

    use super::listed;

    #[test]
    fn ties_are_told_by_what_processes_do_with_a_thing() {
        let process = |pid: i32, comm: &str| Node::Process {
            name: ProcessName { pid: Pid(pid), comm: comm.to_owned() },
            member: true,
        };
        let thing = |kind, name: &str| Node::Thing { kind, name: name.to_owned() };
        let edge = |from, to, kind, strength| Edge { from, to, kind, strength, from_end: None, to_end: None };
        let graph = Graph {
            nodes: vec![
                process(1, "cat"),
                process(2, "less"),
                thing(ThingKind::Pipe, "pipe:[7]"),
                thing(ThingKind::X11, "@/tmp/.X11-unix/X0"),
                thing(ThingKind::Pipe, "pipe:[8]"),
            ],
            edges: vec![
                edge(0, 2, EdgeKind::Writes, Strength::Strong),
                edge(2, 1, EdgeKind::Reads, Strength::Strong),
                edge(1, 3, EdgeKind::Asks, Strength::Weak),
                edge(0, 4, EdgeKind::Writes, Strength::Strong),
                edge(4, 1, EdgeKind::Reads, Strength::Strong),
            ],
        };
        assert_eq!(
            listed(&graph, 100),
            "\nWhat cannot be cut:\n  2 × pipe pipe:[7], pipe:[8]\n      cat (pid 1) → less (pid 2)\n\
             \nWhat leads to services, devices and others:\n  X11 display @/tmp/.X11-unix/X0\n      less (pid 2)\n"
        );
    }
}
