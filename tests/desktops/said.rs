//! What `dormouse check` says, in a shape that an expert's expectations can be held against.

use std::collections::BTreeSet;

use dormouse_wire::{Checked, EdgeKind, Node, Pid, Problem, ProblemKind, Strength, Verdict};

/// What can be done about a display.
pub const NEST: &str = "Pause it instead, or start it in a nested session that is frozen with it";
/// About a connection to a service.
pub const CLOSE: &str = "Cut the connection (--disconnect), close it in the program, or pause the group instead";
/// About a TCP connection.
pub const END_OR_BOTH: &str = "Keep it (--keep-connections), close it in the program, or freeze both ends together";
/// About shared memory that others have too.
pub const TOGETHER: &str = "Freeze them together, or pause the group instead";

/// A reason that an expert would give. Several that differ in the number of a descriptor or an address are one.
#[derive(Clone, Debug)]
pub struct Reason {
    pub kind: ProblemKind,
    pub pid: Pid,
    /// What the resource begins with; empty where it has none.
    pub at: &'static str,
    /// Why it cannot be done, whole.
    pub what: String,
    pub way_out: &'static str,
}

impl Reason {
    fn fits(&self, problem: &Problem) -> bool {
        let at = match &problem.resource {
            Some(resource) => !self.at.is_empty() && resource.starts_with(self.at),
            None => self.at.is_empty(),
        };
        let process = problem.process.as_ref().map(|process| process.pid);
        at && self.kind == problem.kind
            && process == Some(self.pid)
            && problem.what == self.what
            && problem.way_out.as_deref() == Some(self.way_out)
    }
}

/// A unix socket or another one: the reason names its descriptor.
pub fn at_socket(kind: ProblemKind, pid: Pid, what: impl Into<String>, way_out: &'static str) -> Reason {
    Reason { kind, pid, at: "descriptor ", what: what.into(), way_out }
}

#[derive(Debug)]
pub struct Said {
    pub checked: Checked,
    /// As a person reads it, in lines that are not broken.
    pub text: String,
}

impl Said {
    pub fn new(checked: Checked, text: String, code: Option<i32>) -> Self {
        let expected = match checked.verdict {
            Verdict::Freezable => 0,
            Verdict::Lossy(_) => 1,
            Verdict::Blocked(_) => 2,
        };
        assert_eq!(code, Some(expected), "the exit code says something else than the verdict:\n{text}");
        Self { checked, text }
    }

    /// Why it cannot be frozen.
    pub fn reasons(&self) -> &[Problem] {
        match &self.checked.verdict {
            Verdict::Blocked(reasons) | Verdict::Lossy(reasons) => reasons,
            Verdict::Freezable => &[],
        }
    }

    /// It is blocked for these reasons, all of them and no others.
    pub fn is_blocked_by(&self, expected: &[Reason]) -> Result<(), String> {
        let reasons = self.reasons();
        if let Some(missing) = expected.iter().find(|reason| !reasons.iter().any(|given| reason.fits(given))) {
            return Err(format!("this reason is missing: {missing:#?}"));
        }
        let unexpected = reasons.iter().find(|given| !expected.iter().any(|reason| reason.fits(given)));
        unexpected.map_or(Ok(()), |reason| Err(format!("nobody expects this reason: {reason:#?}")))
    }

    /// The command names of the group, in the order of the alphabet.
    pub fn members(&self) -> Vec<&str> {
        let mut members: Vec<&str> = self.checked.processes.iter().map(|process| process.comm.as_str()).collect();
        members.sort_unstable();
        members
    }

    /// Each tie as a line: `xterm parent bash`, `xterm asks x11 @/tmp/.X11-unix/X0`, `x11 … served-by Xvfb`; the things by
    /// the words of `--json`, those that cannot be cut with an exclamation mark behind.
    pub fn ties(&self) -> BTreeSet<String> {
        let graph = &self.checked.graph;
        let word = |value: serde_json::Result<serde_json::Value>| match value {
            Ok(serde_json::Value::String(word)) => word,
            other => panic!("this is no word: {other:?}"),
        };
        let shown = |place: usize| match &graph.nodes[place] {
            Node::Process { name, .. } => name.comm.clone(),
            Node::Thing { kind, name } => format!("{} {name}", word(serde_json::to_value(kind))),
        };
        let line = |edge: &dormouse_wire::Edge| {
            let mark = if edge.strength == Strength::Strong { "!" } else { "" };
            format!("{} {}{mark} {}", shown(edge.from), word(serde_json::to_value(edge.kind)), shown(edge.to))
        };
        graph.edges.iter().map(line).collect()
    }

    /// These ties are there.
    pub fn has(&self, ties: &[&str]) -> Result<(), String> {
        let found = self.ties();
        let missing = ties.iter().find(|tie| !found.contains(**tie));
        missing.map_or(Ok(()), |tie| Err(format!("this tie is missing: {tie}")))
    }

    /// How many things of a kind, by the words of `--json`, all these processes hold, with ties that are all this strong.
    pub fn common(&self, kind: &str, strength: Strength, holders: &[Pid]) -> usize {
        let graph = &self.checked.graph;
        let wanted: BTreeSet<Pid> = holders.iter().copied().collect();
        let is_common = |place: &usize| {
            let edges = || graph.edges.iter().filter(|edge| edge.from == *place || edge.to == *place);
            let ends = edges().flat_map(|edge| [edge.from, edge.to]);
            let pids = ends.filter_map(|end| match &graph.nodes[end] {
                Node::Process { name, .. } => Some(name.pid),
                Node::Thing { .. } => None,
            });
            let of_kind = |node: &Node| match node {
                Node::Thing { kind: own, .. } => serde_json::to_value(own).is_ok_and(|own| own == kind),
                Node::Process { .. } => false,
            };
            of_kind(&graph.nodes[*place])
                && wanted.is_subset(&pids.collect())
                && edges().all(|edge| edge.strength == strength)
        };
        (0..graph.nodes.len()).filter(is_common).count()
    }

    /// Who serves the service of this name.
    pub fn server_of(&self, service: &str) -> Result<Pid, String> {
        let graph = &self.checked.graph;
        let is_it = |place: usize| matches!(&graph.nodes[place], Node::Thing { name, .. } if name == service);
        let mut served = graph.edges.iter().filter(|edge| edge.kind == EdgeKind::ServedBy && is_it(edge.from));
        let server = served.find_map(|edge| match &graph.nodes[edge.to] {
            Node::Process { name, .. } => Some(name.pid),
            Node::Thing { .. } => None,
        });
        server.ok_or_else(|| format!("nobody serves {service}"))
    }

    /// The processes outside the group to which a tie leads that cannot be cut.
    pub fn bound_to(&self) -> BTreeSet<&str> {
        let graph = &self.checked.graph;
        let outside = |place: usize| match &graph.nodes[place] {
            Node::Process { name, member: false } => Some(name.comm.as_str()),
            _ => None,
        };
        let strong = graph.edges.iter().filter(|edge| edge.strength == Strength::Strong);
        strong.flat_map(|edge| [edge.from, edge.to]).filter_map(outside).collect()
    }
}

/// Turns a comparison into an answer for [`check_until`](crate::scene::check_until).
pub fn same<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{found:?} where it should be {expected:?}")) }
}
