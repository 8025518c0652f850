//! The ties that sockets make, in all networks that can be asked: [`unix`](super::unix) and [`tcp`](super::tcp).

use std::collections::HashMap;

use dormouse_wire::{EdgeKind, Pid, Strength};

use super::holdings::{Holdings, Target};
use super::ties::Ties;
use super::{tcp, unix};
use crate::survey::networks::Network;

/// Who holds which socket, and by which descriptor.
#[derive(Debug, Default)]
pub struct Holders(HashMap<u64, Vec<(Pid, String)>>);

/// Adds the ties of all sockets.
pub fn tie(holdings: &[Holdings], ties: &mut Ties) {
    let mut holders = Holders::default();
    for holding in holdings {
        for descriptor in &holding.descriptors {
            if let Target::Socket(inode) = descriptor.target {
                let end = format!("descriptor {}", descriptor.number);
                holders.0.entry(inode).or_default().push((holding.name.pid, end));
            }
        }
    }
    let networks = Network::all(holdings);
    unix::tie(&networks, &holders, ties);
    tcp::tie(&networks, &holders, ties);
}

impl Holders {
    /// Whether anybody is seen to hold it.
    pub fn any(&self, inode: u64) -> bool {
        self.0.contains_key(&inode)
    }

    /// Ties those who hold a socket to a thing.
    pub fn tie(&self, inode: impl Into<u64>, thing: usize, does: (EdgeKind, Strength), ties: &mut Ties) {
        for (pid, end) in self.0.get(&inode.into()).into_iter().flatten() {
            ties.holds(*pid, thing, does.0, does.1, Some(end.clone()));
        }
    }
}
