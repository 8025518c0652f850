//! Memory that a service has in common with its clients: pictures for a display server, sound for PipeWire. The connection
//! is a boundary, and so is what crosses it.

use std::collections::{HashMap, HashSet};

use dormouse_wire::{EdgeKind, Graph, Node, Strength, ThingKind};

/// Makes the ties weak that memory makes between a service and its clients alone.
pub fn loosen(graph: &mut Graph) {
    let is_memory = |place: &usize| {
        matches!(graph.nodes[*place], Node::Thing { kind: ThingKind::SharedMemory | ThingKind::SystemV, .. })
    };
    let mut asked: HashMap<usize, HashSet<usize>> = HashMap::new();
    let mut served: HashMap<usize, HashSet<usize>> = HashMap::new();
    let mut holders: HashMap<usize, HashSet<usize>> = HashMap::new();
    for edge in &graph.edges {
        match edge.kind {
            EdgeKind::Asks => asked.entry(edge.from).or_default().insert(edge.to),
            EdgeKind::ServedBy => served.entry(edge.to).or_default().insert(edge.from),
            EdgeKind::Maps if is_memory(&edge.to) => holders.entry(edge.to).or_default().insert(edge.from),
            _ => continue,
        };
    }
    let serves = |server: usize, client: usize| match (served.get(&server), asked.get(&client)) {
        (Some(served), Some(asked)) => !served.is_disjoint(asked),
        _ => false,
    };
    let crosses_a_boundary = |holders: &HashSet<usize>| {
        let serves_all = |server: usize| holders.iter().all(|client| *client == server || serves(server, *client));
        holders.len() > 1 && holders.iter().any(|server| serves_all(*server))
    };
    let crossing: HashSet<usize> =
        holders.iter().filter(|(_, holders)| crosses_a_boundary(holders)).map(|(thing, _)| *thing).collect();
    for edge in graph.edges.iter_mut().filter(|edge| crossing.contains(&edge.to)) {
        edge.strength = Strength::Weak;
    }
}

#[cfg(test)]
mod tests {
    use dormouse_wire::{Edge, Pid, ProcessName};

    use super::*;

    #[test]
    fn memory_of_a_server_and_its_clients_is_a_boundary_and_memory_of_two_clients_is_none() {
        let process = |pid| Node::Process { name: ProcessName { pid: Pid(pid), comm: "x".to_owned() }, member: false };
        let thing = |kind, name: &str| Node::Thing { kind, name: name.to_owned() };
        let edge = |from, to, kind, strength| Edge { from, to, kind, strength, from_end: None, to_end: None };
        let nodes = vec![
            process(1),
            process(2),
            process(3),
            thing(ThingKind::Wayland, "/run/wayland-0"),
            thing(ThingKind::SharedMemory, "of the server and both"),
            thing(ThingKind::SharedMemory, "of both alone"),
        ];
        let maps = [(0, 4), (1, 4), (2, 4), (1, 5), (2, 5)];
        let mut edges = vec![
            edge(3, 0, EdgeKind::ServedBy, Strength::Weak),
            edge(1, 3, EdgeKind::Asks, Strength::Weak),
            edge(2, 3, EdgeKind::Asks, Strength::Weak),
        ];
        edges.extend(maps.map(|(from, to)| edge(from, to, EdgeKind::Maps, Strength::Strong)));
        let mut graph = Graph { nodes, edges };
        loosen(&mut graph);
        let strengths: Vec<_> = graph.edges[3..].iter().map(|edge| edge.strength).collect();
        assert_eq!(strengths, [Strength::Weak, Strength::Weak, Strength::Weak, Strength::Strong, Strength::Strong]);
    }
}
