//! The ties that TCP makes: `/proc/PID/net/tcp` tells the addresses of both ends of a connection. Each network has addresses
//! of its own, and what is told of one is true in that one alone.

use std::collections::HashMap;

use dormouse_wire::{EdgeKind, Strength, ThingKind};

use super::sockets::Holders;
use super::ties::Ties;
use crate::proc::tcp::{self, TcpLine};
use crate::survey::networks::Network;

/// `TCP_ESTABLISHED` of include/net/tcp_states.h.
const ESTABLISHED: u8 = 1;

/// Adds the ties of TCP in these networks.
pub fn tie(networks: &[Network], holders: &Holders, ties: &mut Ties) {
    for network in networks {
        let lines = [network.listed("tcp", tcp::parse), network.listed("tcp6", tcp::parse)].concat();
        within(&lines, &network.mark(), holders, ties);
    }
}

/// `mark`: what stands behind the names of things in this network.
fn within(lines: &[TcpLine], mark: &str, holders: &Holders, ties: &mut Ties) {
    let ends: HashMap<_, _> =
        (lines.iter().filter(|line| !line.listens())).map(|line| ((line.local, line.remote), line)).collect();
    for line in lines.iter().filter(|line| holders.any(line.inode)) {
        let (kind, name, does) = if line.listens() {
            (ThingKind::Service, format!("TCP {}", line.local), EdgeKind::ServedBy)
        } else if ends.contains_key(&(line.remote, line.local)) {
            let (low, high) = (line.local.min(line.remote), line.local.max(line.remote));
            (ThingKind::Tcp, format!("{low} and {high}"), EdgeKind::Holds)
        } else if line.state == ESTABLISHED {
            (ThingKind::RemoteHost, line.remote.to_string(), EdgeKind::Asks)
        } else {
            continue;
        };
        let thing = ties.thing(kind, &(name + mark));
        holders.tie(line.inode, thing, (does, Strength::Weak), ties);
    }
}
