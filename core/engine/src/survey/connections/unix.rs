//! The ties that unix sockets make: sock_diag(7) tells which are connected. A pair ties two sockets of one network; a
//! connection by a path may lead from one network to another.

use std::collections::{BTreeMap, HashMap, HashSet};

use dormouse_wire::{EdgeKind, Strength, ThingKind};

use super::sockets::Holders;
use super::ties::Ties;
use crate::kernel::netlink::UnixSocket;
use crate::resource::fd::unix::name::{Name, is_automatic};
use crate::resource::fd::unix::services::service;
use crate::survey::networks::{self, Network};

const ASKS: (EdgeKind, Strength) = (EdgeKind::Asks, Strength::Weak);
const SERVED_BY: (EdgeKind, Strength) = (EdgeKind::ServedBy, Strength::Weak);

/// A socket and the network it is of.
type Of<'a> = (&'a Network, &'a UnixSocket);

/// Device and inode.
type File = (u32, u32);

/// Adds the ties of the unix sockets in these networks.
pub fn tie(networks: &[Network], holders: &Holders, ties: &mut Ties) {
    let told = networks::unix_sockets(networks);
    let all: Vec<Of<'_>> = told.iter().map(|(network, socket)| (*network, socket)).collect();
    let names = Names::of(&all);
    let by_inode: HashMap<u32, Of<'_>> = all.iter().map(|of| (of.1.inode, *of)).collect();
    for of in &all {
        let peer = of.1.peer.and_then(|peer| by_inode.get(&peer));
        match (of.1.listens, peer) {
            (true, _) => listening(*of, &names, holders, ties),
            (false, Some(peer)) => connected(*of, *peer, &names, holders, ties),
            (false, None) => {}
        }
    }
}

fn listening(of: Of<'_>, names: &Names<'_>, holders: &Holders, ties: &mut Ties) {
    let Some((kind, name)) = names.service(of, false) else { return };
    let thing = ties.thing(kind, &name);
    holders.tie(of.1.inode, thing, SERVED_BY, ties);
    // Those that have not been accepted yet.
    for client in &of.1.waiting {
        holders.tie(*client, thing, ASKS, ties);
    }
}

fn connected(one: Of<'_>, other: Of<'_>, names: &Names<'_>, holders: &Holders, ties: &mut Ties) {
    let (own, peer) = (one.1.inode, other.1.inode);
    let mutual = other.1.peer == Some(own);
    let mut asks = |(kind, name): (ThingKind, String)| {
        let thing = ties.thing(kind, &name);
        holders.tie(own, thing, ASKS, ties);
        holders.tie(peer, thing, SERVED_BY, ties);
    };
    // The server's end has the name of the socket that it was accepted from; a client has none as a rule.
    match (names.service(one, mutual), names.service(other, mutual)) {
        (None, Some(service)) => asks(service),
        // Seen from the other end, if that knows of this one.
        (Some(_), None) if mutual => {}
        (Some(_), Some(service)) if !mutual || own < peer => asks(service),
        (None, None) if own <= peer || !mutual => {
            let thing = ties.thing(ThingKind::UnixSocket, &format!("socket:[{}]-[{}]", own.min(peer), own.max(peer)));
            for inode in [own, peer] {
                holders.tie(inode, thing, (EdgeKind::Holds, Strength::Strong), ties);
            }
        }
        _ => {}
    }
}

/// What the sockets' names stand for.
#[derive(Debug, Default)]
struct Names<'a> {
    /// The names at which somebody listens, in each network.
    listened: HashSet<(u64, &'a [u8])>,
    /// The files that are bound at each path, and whether a socket of another network is: whoever sees other mounts may
    /// bind another file there.
    files: BTreeMap<&'a [u8], BTreeMap<File, bool>>,
}

impl<'a> Names<'a> {
    fn of(all: &[Of<'a>]) -> Self {
        let mut names = Self::default();
        let mut homes: HashMap<File, bool> = HashMap::new();
        for (network, socket) in all {
            let Some(name) = socket.name.as_deref() else { continue };
            if socket.listens {
                names.listened.insert((network.inode, name));
                // What it accepts is of the network of the client.
                homes.extend(socket.file.map(|file| (file, network.elsewhere)));
            }
            if let Some(file) = socket.file {
                names.files.entry(name).or_default().entry(file).or_insert(network.elsewhere);
            }
        }
        for (file, elsewhere) in names.files.values_mut().flatten() {
            *elsewhere = homes.get(file).copied().unwrap_or(*elsewhere);
        }
        names
    }

    /// What service has the name of a socket, and how it is called: no two services alike. An end of a connection that is
    /// `mutual` may have a name from the kernel, at which nobody listens: that stands for none.
    fn service(&self, (network, socket): Of<'_>, mutual: bool) -> Option<(ThingKind, String)> {
        let sun_path = socket.name.as_deref()?;
        if mutual && is_automatic(sun_path) && !self.listened.contains(&(network.inode, sun_path)) {
            return None;
        }
        let name = Name::of(sun_path)?;
        let mark = match name {
            Name::Abstract(_) => network.mark(),
            Name::Path(_) => socket.file.map_or_else(String::new, |file| self.mark(sun_path, file)),
        };
        Some((service(&name).kind, name.shown() + &mark))
    }

    /// What stands behind a path at which there are several files: which of them it is, unless it is the only one here.
    fn mark(&self, path: &[u8], file: File) -> String {
        let Some(files) = self.files.get(path).filter(|files| files.len() > 1) else { return String::new() };
        let here = || files.values().filter(|elsewhere| !**elsewhere).count();
        if files.get(&file) == Some(&false) && here() == 1 {
            return String::new();
        }
        let (device, inode) = file;
        // The kernel has 20 bits for the minor number, include/linux/kdev_t.h.
        format!(" [{}:{}:{inode}]", device >> 20, device & 0xf_ffff)
    }
}
