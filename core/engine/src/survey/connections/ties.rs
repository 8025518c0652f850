//! From what processes hold to the ties between them.

use std::collections::{HashMap, HashSet};

use dormouse_wire::{Edge, EdgeKind, Graph, Node, Pid, Strength, ThingKind};

use super::devices;
use super::holdings::{Descriptor, Holdings, Target};
use super::{fuse, served, sharing, sockets, system_v};
use crate::kernel::files::Place;
use crate::proc::locks;
use crate::proc::maps::{Mapping, MappingName};
use crate::proc::{self, strip_deleted};
use crate::resource::fd::shown_bytes;

/// Device (major and minor) and inode number.
type Inode = ((u32, u32), u64);

/// What is mapped, and by whom.
#[derive(Default)]
struct Object<'a> {
    /// Somebody may write it.
    written: bool,
    holders: Vec<(Pid, &'a Mapping)>,
}

/// The graph in the making.
#[derive(Debug, Default)]
pub struct Ties {
    graph: Graph,
    processes: HashMap<Pid, usize>,
    things: HashMap<(ThingKind, String), usize>,
}

/// The graph of all that these processes hold.
pub fn graph(holdings: &[Holdings]) -> Graph {
    let mut ties = Ties::default();
    for holding in holdings {
        ties.processes.insert(holding.name.pid, ties.graph.nodes.len());
        ties.graph.nodes.push(Node::Process { name: holding.name.clone(), member: false });
    }
    for holding in holdings {
        ties.family(holding);
        for descriptor in &holding.descriptors {
            ties.descriptor(holding.name.pid, descriptor);
        }
    }
    ties.mappings(holdings);
    ties.locks(holdings);
    sockets::tie(holdings, &mut ties);
    sharing::tie(holdings, &mut ties);
    system_v::tie(&mut ties);
    fuse::tie(holdings, &mut ties);
    served::loosen(&mut ties.graph);
    ties.finish()
}

impl Ties {
    /// Which node a thing is.
    pub fn thing(&mut self, kind: ThingKind, name: &str) -> usize {
        let nodes = &mut self.graph.nodes;
        *self.things.entry((kind, name.to_owned())).or_insert_with(|| {
            nodes.push(Node::Thing { kind, name: name.to_owned() });
            nodes.len() - 1
        })
    }

    /// Which node a process is, if it is seen.
    pub fn process(&self, pid: Pid) -> Option<usize> {
        self.processes.get(&pid).copied()
    }

    /// Adds a tie; twice the same is the same.
    fn tie(&mut self, edge: Edge) {
        self.graph.edges.push(edge);
    }

    /// A tie from a process to a thing; `end`: what it holds it by.
    pub fn holds(&mut self, pid: Pid, thing: usize, kind: EdgeKind, strength: Strength, end: Option<String>) {
        let Some(process) = self.process(pid) else { return };
        let edge = match kind {
            EdgeKind::Reads | EdgeKind::ServedBy | EdgeKind::Controls => {
                Edge { from: thing, to: process, kind, strength, from_end: None, to_end: end }
            }
            _ => Edge { from: process, to: thing, kind, strength, from_end: end, to_end: None },
        };
        self.tie(edge);
    }

    fn family(&mut self, holding: &Holdings) {
        let own = holding.name.pid;
        for (above, kind, strength) in [
            (Some(holding.parent), EdgeKind::Parent, Strength::Weak),
            (holding.tracer, EdgeKind::Tracer, Strength::Strong),
        ] {
            if let (Some(from), Some(to)) = (above.and_then(|pid| self.process(pid)), self.process(own)) {
                self.tie(Edge { from, to, kind, strength, from_end: None, to_end: None });
            }
        }
        if let Some(name) = holding.terminal.and_then(terminal) {
            let thing = self.thing(ThingKind::Terminal, &name);
            self.holds(own, thing, EdgeKind::Controls, Strength::Weak, None);
        }
    }

    fn descriptor(&mut self, pid: Pid, descriptor: &Descriptor) {
        let end = Some(format!("descriptor {}", descriptor.number));
        let (thing, kinds, strength) = match &descriptor.target {
            Target::Pipe(inode) => {
                let thing = self.thing(ThingKind::Pipe, &format!("pipe:[{inode}]"));
                (thing, ends(descriptor.access), Strength::Strong)
            }
            Target::Master(number) => {
                let thing = self.thing(ThingKind::Terminal, &format!("/dev/pts/{number}"));
                (thing, vec![EdgeKind::Drives], Strength::Strong)
            }
            Target::Path(path, Some(Place { file_type, .. })) => match *file_type {
                libc::S_IFIFO => {
                    let thing = self.thing(ThingKind::Fifo, &shown_bytes(path));
                    (thing, ends(descriptor.access), Strength::Strong)
                }
                libc::S_IFCHR | libc::S_IFBLK => {
                    let Some(kind) = devices::kind(path) else { return };
                    (self.thing(kind, &shown_bytes(path)), vec![EdgeKind::Holds], Strength::Weak)
                }
                _ => return,
            },
            Target::Socket(_) | Target::Path(_, None) => return,
        };
        for kind in kinds {
            self.holds(pid, thing, kind, strength, end.clone());
        }
    }

    /// Memory that more than one of them maps, if anybody may write it.
    fn mappings(&mut self, holdings: &[Holdings]) {
        let mut objects: HashMap<Inode, Object<'_>> = HashMap::new();
        for holding in holdings {
            for mapping in holding.shared.iter().filter(|mapping| mapping.inode != 0) {
                let object = objects.entry((mapping.device, mapping.inode)).or_default();
                object.written |= mapping.write;
                object.holders.push((holding.name.pid, mapping));
            }
        }
        for (((major, minor), inode), Object { written, holders }) in objects {
            let Some((kind, strength, name)) = holders.first().and_then(|(_, mapping)| object(mapping)) else {
                continue;
            };
            let boundary = matches!(kind, ThingKind::Gpu | ThingKind::Sound | ThingKind::Camera | ThingKind::Device);
            if !written && !boundary {
                continue;
            }
            // Objects without a name of their own are told apart by their inode.
            let name = if strength == Strength::Strong { format!("{name} [{major}:{minor}:{inode}]") } else { name };
            let thing = self.thing(kind, &name);
            for (pid, mapping) in holders {
                self.holds(pid, thing, EdgeKind::Maps, strength, Some(format!("address {:#x}", mapping.start)));
            }
        }
    }

    fn locks(&mut self, holdings: &[Holdings]) {
        let names: HashMap<(u64, u64), &[u8]> = (holdings.iter().flat_map(|holding| &holding.descriptors))
            .filter_map(|descriptor| match &descriptor.target {
                Target::Path(path, Some(place)) => Some(((place.device, place.inode), path.as_slice())),
                _ => None,
            })
            .collect();
        for lock in proc::parsed_system("locks", locks::parse).unwrap_or_default() {
            let (Some(pid), Some(file)) = (lock.pid, lock.file) else { continue };
            let device = libc::makedev(file.device.0, file.device.1);
            let name = names.get(&(device, file.inode)).map_or_else(
                || format!("inode {} of device {}:{}", file.inode, file.device.0, file.device.1),
                |path| shown_bytes(path),
            );
            let thing = self.thing(ThingKind::File, &name);
            let kind = if lock.waits { EdgeKind::WaitsForLock } else { EdgeKind::Locks };
            self.holds(pid, thing, kind, Strength::Weak, None);
        }
    }

    /// Leaves out what ties nobody to anybody: things on this machine that only one process holds.
    fn finish(self) -> Graph {
        let mut holders: HashMap<usize, HashSet<usize>> = HashMap::new();
        for edge in &self.graph.edges {
            holders.entry(edge.from).or_default().insert(edge.to);
            holders.entry(edge.to).or_default().insert(edge.from);
        }
        let ties = |place: usize| match &self.graph.nodes[place] {
            Node::Process { .. } => true,
            Node::Thing { kind, .. } => {
                let between = matches!(
                    kind,
                    ThingKind::Pipe
                        | ThingKind::Fifo
                        | ThingKind::UnixSocket
                        | ThingKind::Tcp
                        | ThingKind::SharedMemory
                        | ThingKind::SystemV
                        | ThingKind::Semaphores
                        | ThingKind::MessageQueue
                        | ThingKind::DescriptorTable
                        | ThingKind::FilesystemState
                        | ThingKind::AddressSpace
                        | ThingKind::File
                );
                !between || holders.get(&place).is_some_and(|holders| holders.len() > 1)
            }
        };
        let mut places = vec![None; self.graph.nodes.len()];
        let mut graph = Graph::default();
        for (place, node) in self.graph.nodes.iter().enumerate().filter(|(place, _)| ties(*place)) {
            places[place] = Some(graph.nodes.len());
            graph.nodes.push(node.clone());
        }
        for edge in self.graph.edges {
            if let (Some(from), Some(to)) = (places[edge.from], places[edge.to]) {
                graph.edges.push(Edge { from, to, ..edge });
            }
        }
        // A process is tied to a service by both lists of the kernel, to a terminal as often as it is on it.
        graph.edges.sort_unstable();
        graph.edges.dedup();
        graph
    }
}

/// What a process does with an end.
fn ends((reads, writes): (bool, bool)) -> Vec<EdgeKind> {
    [(writes, EdgeKind::Writes), (reads, EdgeKind::Reads)]
        .into_iter()
        .filter_map(|(does, kind)| does.then_some(kind))
        .collect()
}

/// The name of a terminal by its device number: pts(4), tty(4), ttyS(4).
fn terminal((major, minor): (u32, u32)) -> Option<String> {
    match major {
        136..=143 => Some(format!("/dev/pts/{}", (major - 136) * 256 + minor)),
        4 if minor < 64 => Some(format!("/dev/tty{minor}")),
        4 => Some(format!("/dev/ttyS{}", minor - 64)),
        _ => None,
    }
}

/// What a shared mapping maps, whether its sharers can be cut, and its name.
fn object(mapping: &Mapping) -> Option<(ThingKind, Strength, String)> {
    let path = match &mapping.name {
        MappingName::File(path) => path.as_slice(),
        MappingName::AnonymousShared(name) => {
            return Some((ThingKind::SharedMemory, Strength::Strong, shown_bytes(name)));
        }
        _ => return None,
    };
    let (name, deleted) = strip_deleted(path);
    if name.starts_with(b"/SYSV") && deleted {
        return Some((ThingKind::SystemV, Strength::Strong, shown_bytes(name)));
    }
    let (kind, strength) = match deleted {
        true => (ThingKind::SharedMemory, Strength::Strong),
        false if name.starts_with(b"/dev/shm/") => (ThingKind::SharedMemory, Strength::Weak),
        false if name.starts_with(b"/dev/") => (devices::kind(name)?, Strength::Weak),
        false => (ThingKind::File, Strength::Weak),
    };
    Some((kind, strength, shown_bytes(name)))
}
