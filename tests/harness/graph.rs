//! The graph that `dormouse check` makes, in a shape that can be held against what a program has made.

use std::collections::BTreeSet;

use dormouse_wire::{Checked, Node, ThingKind};

use crate::{Specimen, command};

/// A tie, as both sides tell it: kind of thing, its name, whether it leads to the thing, the process, its end.
pub type Tie = (String, String, bool, i32, String);

/// What `dormouse check` says of the group of one process of a program.
pub fn check(specimen: &Specimen, pid: i32) -> Checked {
    let outcome = command::run(&["check", &pid.to_string(), "--json"], &specimen.folder(), || {});
    serde_json::from_str(&outcome.said).unwrap_or_else(|error| panic!("{error}:\n{}", outcome.said))
}

/// All ties between processes and things in a graph.
pub fn ties(checked: &Checked) -> BTreeSet<Tie> {
    let graph = &checked.graph;
    let tie = |from: usize, to: usize, ends: (&Option<String>, &Option<String>)| {
        let (thing, process, leads_there, end) = match (&graph.nodes[from], &graph.nodes[to]) {
            (Node::Process { name, .. }, Node::Thing { kind, name: thing }) => ((kind, thing), name, true, ends.0),
            (Node::Thing { kind, name: thing }, Node::Process { name, .. }) => ((kind, thing), name, false, ends.1),
            _ => return None,
        };
        Some((word(*thing.0), thing.1.clone(), leads_there, process.pid.0, end.clone().unwrap_or_default()))
    };
    graph.edges.iter().filter_map(|edge| tie(edge.from, edge.to, (&edge.from_end, &edge.to_end))).collect()
}

/// Those of some kinds, by their names in JSON.
pub fn ties_of(checked: &Checked, kinds: &[&str]) -> BTreeSet<Tie> {
    ties(checked).into_iter().filter(|tie| kinds.contains(&tie.0.as_str())).collect()
}

/// The name of a kind in JSON.
fn word(kind: ThingKind) -> String {
    serde_json::to_value(kind).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}
