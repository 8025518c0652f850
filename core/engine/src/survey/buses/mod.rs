//! Which names the processes of a group have on message buses. Only the bus knows: it is asked like any client would ask it
//! ([`ask`]), by the words of the D-Bus specification ([`message`]), through a connection that nobody can make wait.
//!
//! Nothing is changed but that the bus sees a client come and go. Only a bus that a member of the group is connected to is
//! asked, so that none is started for it. It may refuse (the bus of a user lets no other user in, not even root), hang or lie:
//! all have the same moment by which they must have answered.

mod ask;
mod message;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dormouse_wire::bus::{Bus, BusClient};
use dormouse_wire::{EdgeKind, Graph, Node, Pid, ProcessName, ThingKind};

use super::select;
use crate::kernel::{netlink, threads};
use crate::resource::fd::unix::name::Name;
use ask::Question;

/// How long the buses have to answer, all of them at once.
const WITHIN: Duration = Duration::from_millis(500);
/// How many buses are asked at once.
const MOST_AT_ONCE: usize = 8;

/// Asks the buses that members are connected to for the names that members have there.
pub fn look(graph: &Graph) -> Vec<Bus> {
    let things: Vec<usize> = (0..graph.nodes.len()).filter(|place| is_asked_by_member(graph, *place)).collect();
    if things.is_empty() {
        return Vec::new();
    }
    let table = netlink::unix_sockets().unwrap_or_default();
    let names: Vec<Name> = table.iter().filter_map(|socket| socket.name.as_deref().and_then(Name::of)).collect();
    let end = Instant::now() + WITHIN;
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    threads::together(things.len().min(MOST_AT_ONCE), || {
        while let Some(place) = things.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Node::Thing { name: shown, .. } = &graph.nodes[*place] else { continue };
            let Some(name) = names.iter().find(|name| name.shown() == *shown) else { continue };
            let answer = ask::ask(&Question { name, servers: &servers(graph, *place) }, end);
            let is_member = |pid: Pid| member(graph, pid);
            let of_group = |client: ask::Connected| {
                let process = is_member(client.pid).then(|| select::named(client.pid))?;
                Some(BusClient { process, unique: client.unique, names: client.names })
            };
            let clients = answer.clients.into_iter().filter_map(of_group).collect();
            let bus = Bus { name: shown.clone(), access: answer.access, clients };
            found.lock().unwrap_or_else(PoisonError::into_inner).push(bus);
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// Writes the names into the graph, at the bus's end of each tie. A process that has several connections to one bus has all its
/// names at each, for the bus does not tell by which descriptor it knows them.
pub fn name_ends(buses: &[Bus], graph: &mut Graph) {
    let (nodes, edges) = (&graph.nodes, &mut graph.edges);
    for edge in edges.iter_mut().filter(|edge| edge.kind == EdgeKind::Asks) {
        let (Node::Process { name: process, .. }, Node::Thing { kind: ThingKind::MessageBus, name }) =
            (&nodes[edge.from], &nodes[edge.to])
        else {
            continue;
        };
        let Some(bus) = buses.iter().find(|bus| bus.name == *name) else { continue };
        let own = bus.clients.iter().filter(|client| client.process.pid == process.pid);
        let names: Vec<String> = own.map(BusClient::shown).collect();
        edge.to_end = (!names.is_empty()).then(|| names.join(", "));
    }
}

fn is_asked_by_member(graph: &Graph, place: usize) -> bool {
    let is_bus = matches!(graph.nodes[place], Node::Thing { kind: ThingKind::MessageBus, .. });
    let asks = |edge: &dormouse_wire::Edge| edge.to == place && edge.kind == EdgeKind::Asks;
    is_bus && graph.edges.iter().any(|edge| asks(edge) && process(&graph.nodes[edge.from]).is_some_and(|(_, is)| is))
}

/// A process, and whether it is a member.
fn process(node: &Node) -> Option<(&ProcessName, bool)> {
    match node {
        Node::Process { name, member } => Some((name, *member)),
        Node::Thing { .. } => None,
    }
}

fn member(graph: &Graph, pid: Pid) -> bool {
    graph.nodes.iter().filter_map(process).any(|(name, member)| member && name.pid == pid)
}

/// Who is seen to serve a thing.
fn servers(graph: &Graph, thing: usize) -> Vec<Pid> {
    let serves = graph.edges.iter().filter(|edge| edge.from == thing && edge.kind == EdgeKind::ServedBy);
    serves.filter_map(|edge| process(&graph.nodes[edge.to])).map(|(name, _)| name.pid).collect()
}
