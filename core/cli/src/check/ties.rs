//! What ties a group together and what leads out of it, as lines for a person.

use dormouse_wire::{Edge, EdgeKind, Graph, Node, Strength};

use crate::output::{self, Table};

/// A table of the things that members hold with others; empty where there are none.
pub fn listed(graph: &Graph, width: usize) -> String {
    let mut text = String::new();
    for (heading, strength) in
        [("What cannot be cut:", Strength::Strong), ("What leads to services, devices and others:", Strength::Weak)]
    {
        let rows: Vec<[String; 3]> = (0..graph.nodes.len()).filter_map(|place| row(graph, place, strength)).collect();
        if rows.is_empty() {
            continue;
        }
        let mut table = Table::new(&["WHAT", "NAME", "WHO"], &[]);
        for row in rows {
            table.row(row);
        }
        text.extend(["\n", heading, "\n"]);
        text += &table.lines(width);
    }
    text
}

/// The line of a thing whose strongest tie is of this strength.
fn row(graph: &Graph, place: usize, strength: Strength) -> Option<[String; 3]> {
    let Node::Thing { kind, name } = &graph.nodes[place] else { return None };
    let ties: Vec<&Edge> = graph.edges.iter().filter(|edge| edge.from == place || edge.to == place).collect();
    if ties.iter().map(|edge| edge.strength).max() != Some(strength) {
        return None;
    }
    let of = |kinds: &[EdgeKind]| {
        let mut who: Vec<String> = Vec::new();
        for edge in ties.iter().filter(|edge| kinds.contains(&edge.kind)) {
            let other = if edge.from == place { edge.to } else { edge.from };
            if let Node::Process { name, .. } = &graph.nodes[other]
                && !who.contains(&name.to_string())
            {
                who.push(name.to_string());
            }
        }
        who
    };
    let (writers, readers) = (of(&[EdgeKind::Writes]), of(&[EdgeKind::Reads]));
    let (clients, servers) = (of(&[EdgeKind::Asks]), of(&[EdgeKind::ServedBy]));
    let (drivers, users) = (of(&[EdgeKind::Drives]), of(&[EdgeKind::Controls, EdgeKind::Holds, EdgeKind::Maps]));
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
    Some([kind.shown().to_owned(), name.clone(), parts.join("; ")])
}

/// Several names in a line that can be read.
fn several(names: &[String]) -> String {
    const MOST: usize = 3;
    match names {
        [] => "nobody".to_owned(),
        names if names.len() <= MOST => names.join(", "),
        names => format!("{} and {}", names[..MOST].join(", "), output::count(names.len() - MOST, "other", "others")),
    }
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
            ],
            edges: vec![
                edge(0, 2, EdgeKind::Writes, Strength::Strong),
                edge(2, 1, EdgeKind::Reads, Strength::Strong),
                edge(1, 3, EdgeKind::Asks, Strength::Weak),
            ],
        };
        let text = listed(&graph, 100);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(lines.contains(&vec!["pipe", "pipe:[7]", "cat", "(pid", "1)", "→", "less", "(pid", "2)"]), "{text}");
        assert!(lines.contains(&vec!["X11", "display", "@/tmp/.X11-unix/X0", "less", "(pid", "2)"]), "{text}");
    }
}
