//! What can be put together without telling less than a person can see: processes of one name, and things of one kind that the
//! same processes hold.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use dormouse_wire::{Graph, Node};

use super::What;

/// So many make a family.
const FEWEST: usize = 3;

/// To which family a node belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub key: String,
    /// How many belong to it.
    pub count: usize,
}

impl Family {
    /// What the family looks like, one of whom is this node.
    pub fn what(&self, node: &Node) -> What {
        let (key, count) = (self.key.clone(), self.count);
        match node {
            Node::Process { name, member } => What::Processes { key, comm: name.comm.clone(), count, member: *member },
            Node::Thing { kind, .. } => What::Things { key, kind: *kind, count },
        }
    }
}

/// Nobody belongs to one.
pub fn none(graph: &Graph) -> Vec<Option<Family>> {
    vec![None; graph.nodes.len()]
}

/// The families of all nodes, but for those that are open.
pub fn find(graph: &Graph, open: &HashSet<String>) -> Vec<Option<Family>> {
    let mut keys: Vec<String> = graph.nodes.iter().enumerate().map(|(place, node)| by_name(place, node)).collect();
    let neighbours = neighbours(graph, &keys);
    for (place, node) in graph.nodes.iter().enumerate() {
        if let Node::Thing { kind, .. } = node {
            let held: Vec<&str> = neighbours[place].iter().map(String::as_str).collect();
            keys[place] = format!("{kind:?} of {}", held.join(" and "));
        }
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for key in &keys {
        *counts.entry(key).or_default() += 1;
    }
    let family = |key: &String| {
        let count = counts.get(key.as_str()).copied().unwrap_or_default();
        (count >= FEWEST && !open.contains(key)).then(|| Family { key: key.clone(), count })
    };
    keys.iter().map(family).collect()
}

/// Processes of one name belong together; what a thing belongs to is seen by its neighbours.
fn by_name(place: usize, node: &Node) -> String {
    match node {
        Node::Process { name, member: true } => format!("{} within", name.comm),
        Node::Process { name, member: false } => format!("{} outside", name.comm),
        Node::Thing { .. } => format!("thing {place}"),
    }
}

/// The names of the families at the other ends.
fn neighbours(graph: &Graph, keys: &[String]) -> Vec<BTreeSet<String>> {
    let mut found = vec![BTreeSet::new(); keys.len()];
    for edge in &graph.edges {
        if let (Some(from), Some(to)) = (keys.get(edge.from), keys.get(edge.to)) {
            found[edge.from].insert(to.clone());
            found[edge.to].insert(from.clone());
        }
    }
    found
}
