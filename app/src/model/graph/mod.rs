//! The graph of a group as a picture: [families](families) are put together where there is too much to see, and the rest is
//! laid out in layers, from left to right ([layers](layers)).

mod families;
mod layers;
mod walk;

use std::collections::{BTreeMap, HashSet};

use dormouse_wire::{Edge, EdgeKind, Graph, Node, ProcessName, Strength, ThingKind};

pub use self::walk::{Direction, next};

/// How large a node is drawn.
pub const NODE: (f64, f64) = (176.0, 46.0);
/// With more nodes than this, families are put together.
const MOST_NODES: usize = 60;

/// What is drawn.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// The nodes.
    pub nodes: Vec<Shown>,
    /// What ties them together; each pair of nodes has one tie at most in each direction.
    pub ties: Vec<Tie>,
    /// How wide it is.
    pub width: f64,
    /// How high it is.
    pub height: f64,
}

/// A node as it is drawn.
#[derive(Clone, Debug)]
pub struct Shown {
    /// What it is.
    pub what: What,
    /// Where its middle is.
    pub at: (f64, f64),
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A process.
    Process { name: ProcessName, member: bool },
    /// A thing.
    Thing { kind: ThingKind, name: String },
    /// Several processes of one name.
    Processes { key: String, comm: String, count: usize, member: bool },
    /// Several things of one kind that the same processes hold.
    Things { key: String, kind: ThingKind, count: usize },
}

impl What {
    /// By which name a family is opened.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Processes { key, .. } | Self::Things { key, .. } => Some(key),
            Self::Process { .. } | Self::Thing { .. } => None,
        }
    }
}

/// What ties two nodes together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tie {
    /// The place of the node where it begins.
    pub from: usize,
    /// The place of the node to which it leads.
    pub to: usize,
    /// What it says; several where the two are tied in several ways.
    pub kinds: Vec<EdgeKind>,
    /// Whether it can be cut.
    pub strength: Strength,
    /// The ends, such as `descriptor 3`.
    pub ends: Vec<String>,
}

/// Draws a graph up. Families of these names stay open.
pub fn picture(graph: &Graph, open: &HashSet<String>) -> Picture {
    let put_together = if graph.nodes.len() > MOST_NODES { families::find(graph, open) } else { families::none(graph) };
    let mut nodes: Vec<What> = Vec::new();
    let mut places = Vec::with_capacity(graph.nodes.len());
    let mut of_family: BTreeMap<&str, usize> = BTreeMap::new();
    for (node, family) in graph.nodes.iter().zip(&put_together) {
        let place = if let Some(family) = family {
            *of_family.entry(&family.key).or_insert_with(|| {
                nodes.push(family.what(node));
                nodes.len() - 1
            })
        } else {
            nodes.push(alone(node));
            nodes.len() - 1
        };
        places.push(place);
    }
    let ties = ties(&graph.edges, &places);
    let layout = layers::lay_out(nodes.len(), &ties);
    let nodes = nodes.into_iter().zip(layout.places).map(|(what, at)| Shown { what, at }).collect();
    Picture { nodes, ties, width: layout.width, height: layout.height }
}

fn alone(node: &Node) -> What {
    match node {
        Node::Process { name, member } => What::Process { name: name.clone(), member: *member },
        Node::Thing { kind, name } => What::Thing { kind: *kind, name: name.clone() },
    }
}

fn ties(edges: &[Edge], places: &[usize]) -> Vec<Tie> {
    let mut found: BTreeMap<(usize, usize), Tie> = BTreeMap::new();
    for edge in edges {
        let (Some(&from), Some(&to)) = (places.get(edge.from), places.get(edge.to)) else { continue };
        if from == to {
            continue;
        }
        let tie = found.entry((from, to)).or_insert_with(|| Tie {
            from,
            to,
            kinds: Vec::new(),
            strength: edge.strength,
            ends: Vec::new(),
        });
        if !tie.kinds.contains(&edge.kind) {
            tie.kinds.push(edge.kind);
        }
        tie.strength = tie.strength.max(edge.strength);
        tie.ends.extend(edge.from_end.iter().chain(&edge.to_end).cloned());
    }
    found.into_values().collect()
}

#[cfg(test)]
pub mod tests {
    use dormouse_wire::Pid;

    use super::*;

    pub fn process(pid: i32, comm: &str) -> Node {
        Node::Process { name: ProcessName { pid: Pid(pid), comm: comm.to_owned() }, member: true }
    }

    pub fn pipe(name: &str) -> Node {
        Node::Thing { kind: ThingKind::Pipe, name: name.to_owned() }
    }

    pub fn edge(from: usize, to: usize, kind: EdgeKind) -> Edge {
        Edge { from, to, kind, strength: Strength::Strong, from_end: Some("descriptor 3".to_owned()), to_end: None }
    }

    /// A server with so many workers, and a pipe for each.
    pub fn workers(count: usize) -> Graph {
        let mut graph = Graph { nodes: vec![process(1, "server")], edges: Vec::new() };
        for number in 0..count {
            let worker = graph.nodes.len();
            graph.nodes.push(process(worker as i32 + 1, "worker"));
            graph.nodes.push(pipe(&format!("pipe:[{number}]")));
            graph.edges.push(edge(0, worker, EdgeKind::Parent));
            graph.edges.push(edge(0, worker + 1, EdgeKind::Writes));
            graph.edges.push(edge(worker + 1, worker, EdgeKind::Reads));
        }
        graph
    }

    #[test]
    fn a_small_graph_is_drawn_as_it_is() {
        let picture = picture(&workers(3), &HashSet::new());
        assert_eq!((picture.nodes.len(), picture.ties.len()), (7, 9));
        assert!(picture.nodes.iter().all(|node| node.what.key().is_none()));
    }

    #[test]
    fn a_large_graph_shows_families_that_can_be_opened() {
        let graph = workers(150);
        let closed = picture(&graph, &HashSet::new());
        let counts: Vec<usize> = closed
            .nodes
            .iter()
            .filter_map(|node| match node.what {
                What::Processes { count, .. } | What::Things { count, .. } => Some(count),
                _ => None,
            })
            .collect();
        assert_eq!((closed.nodes.len(), counts), (3, vec![150, 150]));
        let key = closed.nodes.iter().find_map(|node| match &node.what {
            What::Processes { key, .. } => Some(key.clone()),
            _ => None,
        });
        let opened = picture(&graph, &key.into_iter().collect());
        assert!(opened.nodes.len() > 150, "{}", opened.nodes.len());
    }

    #[test]
    fn several_ties_between_two_nodes_are_drawn_as_one() {
        let graph = Graph {
            nodes: vec![process(1, "a"), pipe("p")],
            edges: vec![edge(0, 1, EdgeKind::Writes), edge(0, 1, EdgeKind::Holds), edge(0, 1, EdgeKind::Writes)],
        };
        let picture = picture(&graph, &HashSet::new());
        assert_eq!(picture.ties.len(), 1);
        assert_eq!(picture.ties[0].kinds, [EdgeKind::Writes, EdgeKind::Holds]);
        assert_eq!(picture.ties[0].ends.len(), 3);
    }

    #[test]
    fn no_node_lies_on_another_and_all_lie_within() {
        for graph in [workers(2), workers(25), Graph { nodes: vec![process(1, "a"), process(2, "b")], edges: vec![] }] {
            let picture = picture(&graph, &HashSet::new());
            for (place, node) in picture.nodes.iter().enumerate() {
                let (x, y) = node.at;
                assert!(x >= NODE.0 / 2.0 && x <= picture.width - NODE.0 / 2.0, "{x} of {}", picture.width);
                assert!(y >= NODE.1 / 2.0 && y <= picture.height - NODE.1 / 2.0, "{y} of {}", picture.height);
                for other in &picture.nodes[..place] {
                    let apart = (x - other.at.0).abs() >= NODE.0 || (y - other.at.1).abs() >= NODE.1;
                    assert!(apart, "{node:?} lies on {other:?}");
                }
            }
        }
    }
}
