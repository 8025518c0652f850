//! What depends on what: processes, the things they share, and whatever leads out of a group.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::Pid;
use crate::verdict::ProcessName;

/// Processes and things, and what ties them together. Nodes are named by their place in the list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// Processes and things.
    pub nodes: Vec<Node>,
    /// What ties them together.
    pub edges: Vec<Edge>,
}

/// A process or a thing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "node")]
pub enum Node {
    /// A process.
    Process {
        /// Which one.
        #[serde(flatten)]
        name: ProcessName,
        /// Whether it belongs to the group that was asked for.
        member: bool,
    },
    /// A thing that processes hold.
    Thing {
        /// What it is.
        kind: ThingKind,
        /// Its name: a path, an address, or what the kernel calls it.
        name: String,
    },
}

/// What a thing is. Stable names: programs match on them in `--json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ThingKind {
    /// A pipe, pipe(7).
    Pipe,
    /// A FIFO, fifo(7).
    Fifo,
    /// Two unix sockets that are connected, unix(7).
    UnixSocket,
    /// A TCP connection on this machine, tcp(7).
    Tcp,
    /// A TCP connection to another machine.
    RemoteHost,
    /// Memory that processes share, without a file: mmap(2), memfd_create(2), shm_open(3).
    SharedMemory,
    /// A System V segment of shared memory, shmget(2).
    SystemV,
    /// System V semaphores, semget(2).
    Semaphores,
    /// A System V message queue, msgget(2).
    MessageQueue,
    /// A table of descriptors that processes share, CLONE_FILES of clone(2).
    DescriptorTable,
    /// Root, working directory and umask that processes share, CLONE_FS of clone(2).
    FilesystemState,
    /// The whole memory, which processes share: CLONE_VM of clone(2), vfork(2).
    AddressSpace,
    /// A filesystem that a process serves, fuse(4).
    Fuse,
    /// A file that several map to write to, or that is locked, proc_locks(5).
    File,
    /// A terminal, pty(7).
    Terminal,
    /// A service that listens on a unix socket.
    Service,
    /// An X11 display server.
    X11,
    /// A Wayland display server.
    Wayland,
    /// A message bus, D-Bus.
    MessageBus,
    /// PipeWire.
    PipeWire,
    /// PulseAudio.
    PulseAudio,
    /// A graphics card.
    Gpu,
    /// A sound card.
    Sound,
    /// A camera.
    Camera,
    /// Another device.
    Device,
}

impl ThingKind {
    /// Whether processes that hold such a thing cannot be cut from each other.
    pub fn strength(self) -> Strength {
        match self {
            Self::Pipe | Self::Fifo | Self::UnixSocket | Self::SharedMemory | Self::SystemV | Self::Terminal => {
                Strength::Strong
            }
            Self::DescriptorTable | Self::FilesystemState | Self::AddressSpace => Strength::Strong,
            _ => Strength::Weak,
        }
    }

    /// Whether those at its other end are of concern though they can be cut.
    fn leads_on(self) -> bool {
        matches!(self, Self::Tcp | Self::Semaphores | Self::MessageQueue)
    }

    /// What it is, for a person.
    pub fn shown(self) -> &'static str {
        match self {
            Self::Pipe => "pipe",
            Self::Fifo => "FIFO",
            Self::UnixSocket => "socket",
            Self::Tcp => "TCP connection",
            Self::RemoteHost => "other machine",
            Self::SharedMemory => "shared memory",
            Self::SystemV => "shared memory (System V)",
            Self::Semaphores => "semaphores (System V)",
            Self::MessageQueue => "message queue (System V)",
            Self::DescriptorTable => "table of descriptors",
            Self::FilesystemState => "working directory and umask",
            Self::AddressSpace => "whole memory",
            Self::Fuse => "FUSE filesystem",
            Self::File => "file",
            Self::Terminal => "terminal",
            Self::Service => "service",
            Self::X11 => "X11 display",
            Self::Wayland => "Wayland display",
            Self::MessageBus => "message bus",
            Self::PipeWire => "PipeWire",
            Self::PulseAudio => "PulseAudio",
            Self::Gpu => "graphics card",
            Self::Sound => "sound card",
            Self::Camera => "camera",
            Self::Device => "device",
        }
    }
}

/// Whether a tie can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strength {
    /// It can: a boundary.
    Weak,
    /// It cannot: both ends sleep together.
    Strong,
}

/// A tie between two nodes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Edge {
    /// Where it begins: who has made, who writes, who asks.
    pub from: usize,
    /// Where it leads.
    pub to: usize,
    /// What the tie is.
    pub kind: EdgeKind,
    /// Whether it can be cut.
    pub strength: Strength,
    /// The end at `from`, such as `descriptor 3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_end: Option<String>,
    /// The end at `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_end: Option<String>,
}

/// What a tie is. Between a process and a thing it is what the process does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EdgeKind {
    /// From a parent to its child.
    Parent,
    /// From a tracer to whom it traces, ptrace(2).
    Tracer,
    /// From a process to what it writes.
    Writes,
    /// From what is read to the process that reads it.
    Reads,
    /// From a process to what it has open both ways.
    Holds,
    /// From a process to the memory or file it maps.
    Maps,
    /// From a process to what it shares with others as a whole, clone(2).
    Shares,
    /// From a process to the semaphores of which it was the last to use one.
    Uses,
    /// From a process to the file on which it has a lock.
    Locks,
    /// From a process to the file for whose lock it waits.
    WaitsForLock,
    /// From a client to the service it is connected to.
    Asks,
    /// From a service to the process that serves it.
    ServedBy,
    /// From whoever has the master end of a terminal to the terminal.
    Drives,
    /// From a terminal to a process that is on it.
    Controls,
}

impl Graph {
    /// These processes, and whoever descends from them by what the graph knows of parents and children.
    #[must_use]
    pub fn descendants(&self, founders: &[Pid]) -> Vec<Pid> {
        let pid = |place: usize| match self.nodes.get(place) {
            Some(Node::Process { name, .. }) => Some(name.pid),
            _ => None,
        };
        let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
        for edge in self.edges.iter().filter(|edge| edge.kind == EdgeKind::Parent) {
            if let (Some(parent), Some(child)) = (pid(edge.from), pid(edge.to)) {
                children.entry(parent).or_default().push(child);
            }
        }
        let (mut found, mut known) = (founders.to_vec(), founders.iter().copied().collect::<HashSet<_>>());
        let mut next = 0;
        while let Some(parent) = found.get(next).copied() {
            next += 1;
            found.extend(children.get(&parent).into_iter().flatten().filter(|child| known.insert(**child)));
        }
        found
    }

    /// The graph as seen from a group: its members, what they hold, and who else holds that. Ties that cannot be cut come
    /// with whoever is at their other end, as TCP connections on this machine, semaphores and message queues do; boundaries with
    /// whoever serves them.
    #[must_use]
    pub fn around(&self, members: impl Fn(&ProcessName) -> bool) -> Self {
        let is_member = |node: &Node| matches!(node, Node::Process { name, .. } if members(name));
        let inside: Vec<bool> = self.nodes.iter().map(is_member).collect();
        let is_thing = |place: usize| matches!(self.nodes.get(place), Some(Node::Thing { .. }));
        let leads_on =
            |place: usize| matches!(self.nodes.get(place), Some(Node::Thing { kind, .. }) if kind.leads_on());
        let mut held = vec![false; self.nodes.len()];
        for edge in &self.edges {
            if inside[edge.from] && is_thing(edge.to) {
                held[edge.to] = true;
            }
            if inside[edge.to] && is_thing(edge.from) {
                held[edge.from] = true;
            }
        }
        let mut kept = inside.clone();
        for edge in &self.edges {
            let (from, to) = (edge.from, edge.to);
            let ties =
                edge.strength == Strength::Strong || edge.kind == EdgeKind::ServedBy || leads_on(from) || leads_on(to);
            let direct = inside[from] && !is_thing(to) || inside[to] && !is_thing(from);
            if direct || inside[from] || inside[to] || ties && (held[from] || held[to]) {
                kept[from] = true;
                kept[to] = true;
            }
        }
        let mut places = vec![None; self.nodes.len()];
        let mut graph = Self::default();
        for (place, node) in self.nodes.iter().enumerate().filter(|(place, _)| kept[*place]) {
            places[place] = Some(graph.nodes.len());
            graph.nodes.push(match node {
                Node::Process { name, .. } => Node::Process { name: name.clone(), member: inside[place] },
                thing @ Node::Thing { .. } => thing.clone(),
            });
        }
        for edge in &self.edges {
            let touches = inside[edge.from] || inside[edge.to] || held[edge.from] || held[edge.to];
            if let (Some(from), Some(to), true) = (places[edge.from], places[edge.to], touches) {
                graph.edges.push(Edge { from, to, ..edge.clone() });
            }
        }
        graph
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32) -> Node {
        Node::Process { name: ProcessName { pid: Pid(pid), comm: format!("p{pid}") }, member: false }
    }

    fn edge(from: usize, to: usize, kind: EdgeKind, strength: Strength) -> Edge {
        Edge { from, to, kind, strength, from_end: None, to_end: None }
    }

    #[test]
    fn whoever_descends_from_a_group_is_found_and_nobody_beside_or_above_it() {
        let parent = |from, to| edge(from, to, EdgeKind::Parent, Strength::Weak);
        let all = Graph {
            nodes: (1..=5).map(process).collect(),
            edges: vec![
                parent(0, 1),
                parent(1, 3),
                parent(3, 4),
                parent(0, 2),
                edge(1, 2, EdgeKind::Tracer, Strength::Strong),
            ],
        };
        assert_eq!(all.descendants(&[Pid(2)]), [Pid(2), Pid(4), Pid(5)]);
    }

    #[test]
    fn a_group_is_seen_with_what_it_holds_and_not_with_what_others_hold() {
        let thing = |kind, name: &str| Node::Thing { kind, name: name.to_owned() };
        let all = Graph {
            nodes: vec![
                process(1),
                process(2),
                process(3),
                thing(ThingKind::Pipe, "pipe:[1]"),
                thing(ThingKind::Service, "/run/bus"),
                process(4),
                thing(ThingKind::Pipe, "pipe:[2]"),
            ],
            edges: vec![
                edge(0, 3, EdgeKind::Writes, Strength::Strong),
                edge(3, 1, EdgeKind::Reads, Strength::Strong),
                edge(0, 4, EdgeKind::Asks, Strength::Weak),
                edge(2, 4, EdgeKind::Asks, Strength::Weak),
                edge(4, 5, EdgeKind::ServedBy, Strength::Weak),
                edge(2, 6, EdgeKind::Writes, Strength::Strong),
            ],
        };
        let seen = all.around(|name| name.pid == Pid(1));
        let pids: Vec<_> = seen
            .nodes
            .iter()
            .filter_map(|node| match node {
                Node::Process { name, member } => Some((name.pid.0, *member)),
                Node::Thing { .. } => None,
            })
            .collect();
        // Not process 3: that another client asks the same service is no concern of the group's.
        assert_eq!(pids, [(1, true), (2, false), (4, false)]);
        assert_eq!(seen.edges.len(), 4);
    }
}
