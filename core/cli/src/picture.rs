//! Graphs as pictures: in DOT, the language of Graphviz, and drawn as SVG.

use std::collections::HashSet;
use std::fmt::Write;

use dormouse_wire::{Edge, EdgeKind, Graph, Node, Strength};
use layout::backends::svg::SVGWriter;
use layout::gv::{DotParser, GraphBuilder};

use crate::exit::Failure;
use crate::output;

/// In which form a picture is written.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Picture {
    /// The language of Graphviz.
    Dot,
    /// Drawn, for a browser.
    Svg,
}

impl Picture {
    /// Writes a picture, given in DOT, to standard output.
    pub fn print(self, dot: &str) -> Result<(), Failure> {
        match self {
            Self::Dot => output::print(dot),
            Self::Svg => output::print(&svg(dot)?),
        }
    }
}

/// The graph of a group in DOT. Members are filled, things are ellipses, ties that can be cut are dashed.
pub fn dot(graph: &Graph) -> String {
    let mut text = String::from("digraph dormouse {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n");
    for (place, node) in graph.nodes.iter().enumerate() {
        let (label, look) = match node {
            Node::Process { name, member: true } => {
                (format!("{}\\npid {}", quoted(&name.comm), name.pid), "shape=box style=filled fillcolor=lightblue")
            }
            Node::Process { name, member: false } => {
                (format!("{}\\npid {}", quoted(&name.comm), name.pid), "shape=box")
            }
            Node::Thing { kind, name } => (format!("{}\\n{}", kind.shown(), quoted(name)), "shape=ellipse"),
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "  n{place} [label=\"{label}\" {look}];");
    }
    let mut drawn = HashSet::new();
    for edge in &graph.edges {
        // A process that holds a thing by several descriptors has one arrow.
        if !drawn.insert((edge.from, edge.to, edge.kind)) {
            continue;
        }
        let style = if edge.strength == Strength::Strong { "solid" } else { "dashed" };
        let _ = writeln!(text, "  n{} -> n{} [label=\"{}\" style={style}];", edge.from, edge.to, says(edge));
    }
    text + "}\n"
}

/// What is given in DOT, drawn.
pub fn svg(dot: &str) -> Result<String, Failure> {
    let parsed = DotParser::new(dot)
        .process()
        .map_err(|error| Failure::new(format!("The picture cannot be drawn: {error}.")).hint(IN_DOT))?;
    let mut builder = GraphBuilder::new();
    builder.visit_graph(&parsed);
    let mut writer = SVGWriter::new();
    builder.get().do_it(false, false, false, &mut writer);
    Ok(writer.finalize())
}

const IN_DOT: &str = "`--graph dot` writes it for Graphviz.";

/// What a process does with a thing, or to another.
pub fn says(edge: &Edge) -> &'static str {
    match edge.kind {
        EdgeKind::Parent => "parent of",
        EdgeKind::Tracer => "traces",
        EdgeKind::Writes => "writes",
        EdgeKind::Reads => "is read by",
        EdgeKind::Holds => "holds",
        EdgeKind::Maps => "maps",
        EdgeKind::Shares => "shares",
        EdgeKind::Uses => "uses",
        EdgeKind::Locks => "locks",
        EdgeKind::WaitsForLock => "waits for a lock on",
        EdgeKind::Asks => "asks",
        EdgeKind::ServedBy => "is served by",
        EdgeKind::Drives => "drives",
        EdgeKind::Controls => "controls",
        _ => "is tied to",
    }
}

/// Text inside a quoted string of DOT. A name may hold anything.
pub fn quoted(name: &str) -> String {
    name.chars()
        .flat_map(|letter| match letter {
            '"' => vec!['\''],
            '\\' => vec!['/'],
            letter if letter.is_control() => vec!['?'],
            letter => vec![letter],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use dormouse_wire::{Edge, EdgeKind, Graph, Node, Pid, ProcessName, Strength, ThingKind};

    use super::{dot, svg};

    #[test]
    fn any_name_can_be_drawn() {
        for name in ["cat", "a\"b", "a\\", "a\nb", "<b>&", "日本"] {
            let process = ProcessName { pid: Pid(1), comm: name.to_owned() };
            let graph = Graph {
                nodes: vec![
                    Node::Process { name: process, member: true },
                    Node::Thing { kind: ThingKind::Pipe, name: name.to_owned() },
                ],
                edges: vec![Edge {
                    from: 0,
                    to: 1,
                    kind: EdgeKind::Writes,
                    strength: Strength::Strong,
                    from_end: None,
                    to_end: None,
                }],
            };
            assert!(dot(&graph).contains("n0 -> n1"));
            let drawn = svg(&dot(&graph));
            assert!(drawn.as_ref().is_ok_and(|drawn| drawn.contains("<svg")), "{name:?}: {drawn:?}");
        }
    }
}
