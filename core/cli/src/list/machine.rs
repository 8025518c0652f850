//! The groups of a machine and what ties them to each other, as a picture in DOT.
//!
//! Each group is a cluster with its processes; where that would be too many nodes to be read, a group is one node. A thing is
//! drawn where it ties several of them: a connection is an arrow from the client to whoever serves it, what only two have is
//! an arrow between them, and anything else is a node.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use dormouse_wire::{Edge, EdgeKind, Graph, Listed, Node, Pid, Strength};

use crate::output;
use crate::picture::{quoted, says};

/// More nodes than these are not read any more.
const MOST: usize = 60;
/// So many names are in one box of those that are tied to nobody.
const IN_A_BOX: usize = 12;
/// The groups have these colours in turn.
const COLOURS: [&str; 8] = ["#cfe2f3", "#d9ead3", "#fff2cc", "#f4cccc", "#d9d2e9", "#d0e0e3", "#fce5cd", "#ead1dc"];

/// What stands for a process in the picture, and for a thing: numbers of DOT's nodes.
type Place = usize;

/// The picture.
pub fn dot(groups: &[Listed], graph: &Graph) -> String {
    let whole = Picture::of(groups, graph, true);
    let all: usize = groups.iter().map(|group| group.members.len()).sum();
    if all + whole.things.len() <= MOST { whole.dot() } else { Picture::of(groups, graph, false).dot() }
}

struct Picture<'a> {
    groups: &'a [Listed],
    /// Each process is a node; else each group is.
    whole: bool,
    nodes: Vec<String>,
    /// Which of the nodes belong to each group.
    of_group: Vec<Vec<Place>>,
    things: BTreeMap<Place, String>,
    arrows: BTreeMap<(Place, Place), Arrow>,
}

/// All that leads from one node to another.
#[derive(Default)]
struct Arrow {
    words: BTreeMap<String, usize>,
    strong: bool,
}

impl<'a> Picture<'a> {
    fn of(groups: &'a [Listed], graph: &Graph, whole: bool) -> Self {
        let (nodes, things, arrows) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let mut picture = Self { groups, whole, nodes, of_group: Vec::new(), things, arrows };
        let mut places: HashMap<Pid, Place> = HashMap::new();
        for group in groups {
            let mut own = Vec::new();
            for (index, member) in group.members.iter().enumerate() {
                if whole || index == 0 {
                    let label =
                        if whole { format!("{}\\npid {}", quoted(&member.comm), member.pid) } else { of_all(group) };
                    own.push(picture.nodes.len());
                    picture.nodes.push(label);
                }
                places.insert(member.pid, picture.nodes.len() - 1);
            }
            picture.of_group.push(own);
        }
        picture.tie(graph, &places);
        picture
    }

    fn tie(&mut self, graph: &Graph, places: &HashMap<Pid, Place>) {
        let place = |node: usize| match &graph.nodes[node] {
            Node::Process { name, .. } => places.get(&name.pid).copied(),
            Node::Thing { .. } => None,
        };
        let mut ties: BTreeMap<usize, Vec<&Edge>> = BTreeMap::new();
        for edge in &graph.edges {
            let things =
                [edge.from, edge.to].into_iter().filter(|node| matches!(graph.nodes[*node], Node::Thing { .. }));
            let thing = things.into_iter().next();
            match (thing, place(edge.from), place(edge.to)) {
                (Some(thing), _, _) => ties.entry(thing).or_default().push(edge),
                (None, Some(from), Some(to)) if edge.kind == EdgeKind::Tracer => self.arrow(from, to, "traces", true),
                // Whose child somebody is ties nothing together, but shows what came from what.
                (None, Some(from), Some(to)) if self.whole => self.arrow(from, to, "", false),
                _ => {}
            }
        }
        for (thing, edges) in ties {
            self.thing((thing, &graph.nodes[thing]), edges, &place);
        }
    }

    /// Draws a thing that several hold, by all that ties them to it.
    fn thing(&mut self, (thing, node): (usize, &Node), edges: Vec<&Edge>, place: &dyn Fn(usize) -> Option<Place>) {
        let Node::Thing { kind, name } = node else { return };
        let strong = edges.iter().any(|edge| edge.strength == Strength::Strong);
        let of = |wanted: &dyn Fn(&Edge) -> bool| -> BTreeSet<Place> {
            let chosen = edges.iter().filter(|edge| wanted(edge));
            chosen.filter_map(|edge| place(if edge.from == thing { edge.to } else { edge.from })).collect()
        };
        let all = of(&|_| true);
        if all.len() < 2 {
            return;
        }
        let servers = of(&|edge| edge.kind == EdgeKind::ServedBy);
        if !servers.is_empty() {
            for client in of(&|edge| edge.kind != EdgeKind::ServedBy) {
                servers.iter().filter(|server| **server != client).for_each(|server| {
                    self.arrow(client, *server, kind.shown(), strong);
                });
            }
            return;
        }
        let (from, to) = (of(&|edge| edge.from != thing), of(&|edge| edge.from == thing));
        if let (2, [one, other]) = (all.len(), all.iter().copied().collect::<Vec<_>>().as_slice()) {
            // What goes both ways joins an arrow that is there.
            let joins = to.is_empty() && self.arrows.contains_key(&(*other, *one));
            let backwards = joins || !from.contains(one) && to.contains(one);
            let (one, other) = if backwards { (*other, *one) } else { (*one, *other) };
            self.arrow(one, other, kind.shown(), strong);
            return;
        }
        let node = self.nodes.len();
        self.nodes.push(format!("{}\\n{}", kind.shown(), quoted(&short(name))));
        self.things.insert(node, name.clone());
        // Who has a terminal open need not be told to be controlled by it.
        let is_told = |edge: &&Edge| edge.kind != EdgeKind::Controls || !from.contains(&place(edge.to).unwrap_or(node));
        for edge in edges.into_iter().filter(is_told) {
            let (from, to) = (place(edge.from).unwrap_or(node), place(edge.to).unwrap_or(node));
            self.arrow(from, to, "", strong);
            // However many of a group do that.
            self.arrows.entry((from, to)).or_default().words.insert(says(edge).to_owned(), 1);
        }
    }

    fn arrow(&mut self, from: Place, to: Place, word: &str, strong: bool) {
        if from == to {
            return;
        }
        let arrow = self.arrows.entry((from, to)).or_default();
        arrow.strong |= strong;
        if !word.is_empty() {
            *arrow.words.entry(word.to_owned()).or_default() += 1;
        }
    }

    fn dot(&self) -> String {
        let mut text = String::from("digraph dormouse {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n");
        let tied: BTreeSet<Place> = self.arrows.keys().flat_map(|(from, to)| [*from, *to]).collect();
        let mut alone = Vec::new();
        for (index, (group, nodes)) in self.groups.iter().zip(&self.of_group).enumerate() {
            if nodes.iter().all(|node| !tied.contains(node)) {
                alone.push(of_all(group));
                continue;
            }
            let look = format!("shape=box style=filled fillcolor=\"{}\"", COLOURS[index % COLOURS.len()]);
            let within = if self.whole { "    " } else { "  " };
            if self.whole {
                let _ = writeln!(text, "  subgraph cluster_{index} {{\n    label=\"{}\";", quoted(&group.name));
            }
            for node in nodes {
                let _ = writeln!(text, "{within}n{node} [label=\"{}\" {look}];", self.nodes[*node]);
            }
            if self.whole {
                text += "  }\n";
            }
        }
        for thing in self.things.keys() {
            let _ = writeln!(text, "  n{thing} [label=\"{}\" shape=ellipse];", self.nodes[*thing]);
        }
        for ((from, to), arrow) in &self.arrows {
            let style = if arrow.strong { "solid" } else { "dashed" };
            let _ = writeln!(text, "  n{from} -> n{to} [label=\"{}\" style={style}];", arrow.label());
        }
        for (index, names) in alone.chunks(IN_A_BOX).enumerate() {
            let names: Vec<String> = names.iter().map(|name| name.replace("\\n", ", ")).collect();
            let heading = if index == 0 { "tied to nobody" } else { "and these" };
            let _ = writeln!(text, "  alone{index} [label=\"{heading}:\\n{}\" shape=box];", names.join("\\n"));
        }
        text + LEGEND + "}\n"
    }
}

/// What arrows mean.
const LEGEND: &str = "  legend [label=\"solid: cannot be cut\\ndashed: can be cut\\n\
    without a word: has started it\\none colour: one group\\nan arrow leads to whoever serves,\\n\
    or the way that data go\" shape=box];\n";

impl Arrow {
    fn label(&self) -> String {
        let words = self.words.iter().map(|(word, count)| match count {
            1 => word.clone(),
            count => format!("{count} × {word}"),
        });
        words.collect::<Vec<_>>().join(", ")
    }
}

/// A group in a few lines.
fn of_all(group: &Listed) -> String {
    let processes = match group.processes {
        1 => format!("pid {}", group.first_pid),
        processes => format!("{}\\n{}", quoted(&group.id), output::count(processes, "process", "processes")),
    };
    format!("{}\\n{processes}", quoted(&group.name))
}

/// The end of a long name, which tells more than its beginning.
fn short(name: &str) -> String {
    const LONG: usize = 32;
    let letters = name.chars().count();
    if letters <= LONG {
        name.to_owned()
    } else {
        ['…'].into_iter().chain(name.chars().skip(letters - LONG)).collect()
    }
}

#[cfg(test)]
mod tests {
    use dormouse_wire::{Edge, EdgeKind, Graph, GroupKind, Listed, Node, Pid, ProcessName, Strength, ThingKind};

    use super::dot;
    use crate::picture::svg;

    fn group(first: i32, name: &str, processes: i32) -> Listed {
        let named = |pid| ProcessName { pid: Pid(pid), comm: format!("p{pid}") };
        let members: Vec<ProcessName> = (first..first + processes).map(named).collect();
        Listed {
            id: format!("session-{first}"),
            kind: GroupKind::Session,
            name: name.to_owned(),
            icon: None,
            application: None,
            unit: None,
            first_pid: Pid(first),
            processes: members.len(),
            members,
            joined: Vec::new(),
            memory: None,
            private: None,
            swap: None,
            cpu: None,
            started: None,
            uid: None,
            user: None,
            paused: false,
            ended: false,
            verdict: None,
        }
    }

    /// The first process of each group asks a service of the first group, and has a lock on a file with the others.
    fn tied(groups: &[Listed]) -> Graph {
        let nodes = groups.iter().flat_map(|group| &group.members);
        let mut nodes: Vec<Node> = nodes.map(|name| Node::Process { name: name.clone(), member: false }).collect();
        let things = nodes.len();
        nodes.push(Node::Thing { kind: ThingKind::X11, name: "@/tmp/.X11-unix/X0".to_owned() });
        nodes.push(Node::Thing { kind: ThingKind::File, name: "/var/lock".to_owned() });
        let mut edges = Vec::new();
        let mut tie = |from, to, kind| {
            edges.push(Edge { from, to, kind, strength: Strength::Weak, from_end: None, to_end: None });
        };
        tie(things, 0, EdgeKind::ServedBy);
        let mut first = 0;
        for group in groups {
            tie(first, things, EdgeKind::Asks);
            tie(first, things + 1, EdgeKind::Locks);
            first += group.members.len();
        }
        Graph { nodes, edges }
    }

    #[test]
    fn a_few_processes_are_drawn_in_their_groups() {
        let groups = [group(1, "Xorg", 1), group(10, "Terminal", 2), group(20, "Editor", 1)];
        let drawn = dot(&groups, &tied(&groups));
        assert!(
            drawn.contains("subgraph cluster_1 {\n    label=\"Terminal\";\n    n1 [label=\"p10\\npid 10\""),
            "{drawn}"
        );
        assert!(drawn.contains("n1 -> n0 [label=\"X11 display\" style=dashed]"), "{drawn}");
        assert!(drawn.contains("n3 -> n4 [label=\"locks\" style=dashed]") && drawn.contains("/var/lock"), "{drawn}");
        assert!(svg(&drawn).is_ok_and(|drawn| drawn.contains("X11 display")));
    }

    #[test]
    fn of_many_processes_only_the_groups_are_drawn() {
        let mut groups = vec![group(1, "Xorg", 1), group(100, "Browser", 80)];
        let graph = tied(&groups);
        groups.extend((0..20).map(|number| group(1000 + number, &format!("lonely {number}"), 1)));
        let drawn = dot(&groups, &graph);
        assert!(!drawn.contains("subgraph") && !drawn.contains("p101"), "{drawn}");
        assert!(drawn.contains("n1 [label=\"Browser\\nsession-100\\n80 processes\""), "{drawn}");
        assert!(drawn.contains("n1 -> n0 [label=\"X11 display, file\" style=dashed]"), "{drawn}");
        assert!(drawn.contains("tied to nobody:\\nlonely 0, pid 1000\\n"), "{drawn}");
        assert_eq!(drawn.matches("alone").count(), 2, "{drawn}");
        assert!(svg(&drawn).is_ok());
    }
}
