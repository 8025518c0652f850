//! The ties that sockets make: sock_diag(7) tells which unix sockets are connected, `/proc/net/tcp` the addresses of both
//! ends of a connection.

use std::collections::{HashMap, HashSet};

use dormouse_wire::{EdgeKind, Pid, Strength, ThingKind};

use super::holdings::{Holdings, Target};
use super::ties::Ties;
use crate::kernel::netlink::{self, UnixSocket};
use crate::proc;
use crate::proc::tcp::{self, TcpLine};
use crate::resource::fd::unix::name::Name;
use crate::resource::fd::unix::services::service;

/// Who holds a socket, and by which descriptor.
type Holders = HashMap<u64, Vec<(Pid, String)>>;

/// Adds the ties of all sockets.
pub fn tie(holdings: &[Holdings], ties: &mut Ties) {
    let mut holders = Holders::new();
    for holding in holdings {
        for descriptor in &holding.descriptors {
            if let Target::Socket(inode) = descriptor.target {
                let end = format!("descriptor {}", descriptor.number);
                holders.entry(inode).or_default().push((holding.name.pid, end));
            }
        }
    }
    let all = netlink::unix_sockets().unwrap_or_default();
    let by_inode: HashMap<u32, &UnixSocket> = all.iter().map(|socket| (socket.inode, socket)).collect();
    let listened: HashSet<&[u8]> =
        all.iter().filter(|socket| socket.listens).filter_map(|socket| socket.name.as_deref()).collect();
    for socket in &all {
        unix(socket, &Others { by_inode: &by_inode, listened: &listened }, &holders, ties);
    }
    let lines: Vec<TcpLine> = ["net/tcp", "net/tcp6"]
        .iter()
        .flat_map(|file| proc::parsed_system(file, tcp::parse).unwrap_or_default())
        .collect();
    tcp(&lines, &holders, ties);
}

fn of(holders: &Holders, inode: impl Into<u64>) -> &[(Pid, String)] {
    holders.get(&inode.into()).map_or(&[], Vec::as_slice)
}

/// The other unix sockets.
struct Others<'a> {
    by_inode: &'a HashMap<u32, &'a UnixSocket>,
    /// The names at which somebody listens.
    listened: &'a HashSet<&'a [u8]>,
}

impl Others<'_> {
    /// The name to which a connection was made. An end of a pair has one, too, once it has sent credentials: the kernel
    /// gives it, and nobody listens there.
    fn name(&self, socket: &UnixSocket) -> Option<Name> {
        let name = socket.name.as_deref().filter(|name| !is_automatic(name) || self.listened.contains(name))?;
        Name::of(name)
    }
}

/// Whether the kernel chose the name: NUL and five hexadecimal digits, unix(7), "Autobind feature".
fn is_automatic(name: &[u8]) -> bool {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    matches!(name, [0, digits @ ..] if digits.len() == 5 && digits.iter().all(is_digit))
}

fn unix(socket: &UnixSocket, others: &Others<'_>, holders: &Holders, ties: &mut Ties) {
    let name = |socket: &UnixSocket| others.name(socket);
    if socket.listens {
        let Some(name) = name(socket) else { return };
        let thing = ties.thing(service(&name).kind, &name.shown());
        for (pid, end) in of(holders, socket.inode) {
            ties.holds(*pid, thing, EdgeKind::ServedBy, Strength::Weak, Some(end.clone()));
        }
        // Those that have not been accepted yet.
        for (pid, end) in socket.waiting.iter().flat_map(|client| of(holders, *client)) {
            ties.holds(*pid, thing, EdgeKind::Asks, Strength::Weak, Some(end.clone()));
        }
        return;
    }
    let Some(peer) = socket.peer.and_then(|peer| others.by_inode.get(&peer)) else { return };
    // The server's end has the name of the socket that it was accepted from; a client has none as a rule.
    let mutual = peer.peer == Some(socket.inode);
    match (name(socket), name(peer)) {
        (None, Some(name)) => asks(&name, socket.inode, peer.inode, holders, ties),
        // Seen from the other end, if that knows of this one.
        (Some(_), None) if mutual => {}
        (Some(_), Some(name)) if !mutual || socket.inode < peer.inode => {
            asks(&name, socket.inode, peer.inode, holders, ties);
        }
        (None, None) if socket.inode <= peer.inode || !mutual => {
            let (low, high) = (socket.inode.min(peer.inode), socket.inode.max(peer.inode));
            let thing = ties.thing(ThingKind::UnixSocket, &format!("socket:[{low}]-[{high}]"));
            for (pid, end) in of(holders, socket.inode).iter().chain(of(holders, peer.inode)) {
                ties.holds(*pid, thing, EdgeKind::Holds, Strength::Strong, Some(end.clone()));
            }
        }
        _ => {}
    }
}

fn asks(name: &Name, client: u32, server: u32, holders: &Holders, ties: &mut Ties) {
    let thing = ties.thing(service(name).kind, &name.shown());
    for (pid, end) in of(holders, client) {
        ties.holds(*pid, thing, EdgeKind::Asks, Strength::Weak, Some(end.clone()));
    }
    for (pid, end) in of(holders, server) {
        ties.holds(*pid, thing, EdgeKind::ServedBy, Strength::Weak, Some(end.clone()));
    }
}

fn tcp(lines: &[TcpLine], holders: &Holders, ties: &mut Ties) {
    const ESTABLISHED: u8 = 1;
    let ends: HashMap<_, _> =
        (lines.iter().filter(|line| !line.listens())).map(|line| ((line.local, line.remote), line)).collect();
    for line in lines {
        if line.listens() {
            let thing = ties.thing(ThingKind::Service, &format!("TCP {}", line.local));
            for (pid, end) in of(holders, line.inode) {
                ties.holds(*pid, thing, EdgeKind::ServedBy, Strength::Weak, Some(end.clone()));
            }
            continue;
        }
        let (kind, name) = if ends.contains_key(&(line.remote, line.local)) {
            let (low, high) = (line.local.min(line.remote), line.local.max(line.remote));
            (ThingKind::Tcp, format!("{low} and {high}"))
        } else if line.state == ESTABLISHED {
            (ThingKind::RemoteHost, line.remote.to_string())
        } else {
            continue;
        };
        if of(holders, line.inode).is_empty() {
            continue;
        }
        let thing = ties.thing(kind, &name);
        let does = if kind == ThingKind::Tcp { EdgeKind::Holds } else { EdgeKind::Asks };
        for (pid, end) in of(holders, line.inode) {
            ties.holds(*pid, thing, does, Strength::Weak, Some(end.clone()));
        }
    }
}
