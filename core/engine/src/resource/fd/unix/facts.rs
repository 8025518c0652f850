//! What the survey sees of the unix sockets of a group: who is connected to whom, and what waits in them.

// zoo: no kind

use std::collections::{BTreeSet, HashMap};
use std::os::fd::AsFd;

use dormouse_wire::Pid;

use super::super::{FileFacts, FileId, FilesFacts};
use super::name::{self, Name};
use crate::kernel::netlink::UnixSocket;
use crate::kernel::socket::{self, Sender, UnixAddress};
use crate::kernel::{Answer, Errno, anonymous};

/// The unix sockets.
#[derive(Debug, Default)]
pub struct Sockets {
    /// All sockets of this network namespace, by inode.
    table: HashMap<u32, UnixSocket>,
    /// The sockets of the group, by inode.
    own: HashMap<u32, FileId>,
    /// Where a socket waits to be accepted.
    waits_at: HashMap<u32, u32>,
    /// What waits in a socket, or why that could not be seen.
    pub queues: HashMap<FileId, Answer<Vec<Waiting>>>,
    /// The device that all sockets lie on.
    device: u64,
}

/// A message that waits in a socket.
#[derive(Debug)]
pub struct Waiting {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The open files on their way with it.
    pub files: Vec<FileId>,
    /// Who has sent it.
    pub credentials: Option<Sender>,
    /// The name of the socket it came from.
    pub from: Option<Name>,
}

/// What a socket is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Nothing.
    Nothing,
    /// It listens.
    Listens,
    /// A socket of the group.
    Inside(FileId),
    /// A listening socket of the group that has not accepted it yet.
    WaitsAt(FileId),
    /// A socket that was closed.
    Gone,
    /// A socket outside the group, by inode.
    Outside(u32),
    /// A listening socket outside the group that has not accepted it yet, by inode.
    WaitsOutside(u32),
    /// It cannot be told: another network namespace.
    Unknown,
}

/// Whether a file is a unix socket.
pub fn is_unix(facts: &FileFacts) -> bool {
    facts.file_type() == libc::S_IFSOCK
        && facts.info.flags as i32 & libc::O_PATH == 0
        && socket::option(&facts.file, libc::SO_DOMAIN) == Ok(libc::AF_UNIX)
}

/// SO_TYPE.
pub fn kind(facts: &FileFacts) -> i32 {
    socket::option(&facts.file, libc::SO_TYPE).unwrap_or_default()
}

/// Whether an error waits in a socket; SO_ERROR would take it away.
pub fn has_error(file: &impl AsFd) -> bool {
    anonymous::poll(file, 0).is_ok_and(|events| events & libc::POLLERR != 0)
}

impl Sockets {
    /// With all sockets that the kernel tells of.
    pub fn new(all: Vec<UnixSocket>) -> Self {
        let mut sockets = Self::default();
        for found in all {
            sockets
                .waits_at
                .extend(found.waiting.iter().filter(|client| **client != 0).map(|client| (*client, found.inode)));
            sockets.table.insert(found.inode, found);
        }
        sockets
    }

    /// Notes a socket of the group. Its messages can be looked at if the answer is true: an error that waits would be
    /// taken by that, and one that listens has none.
    pub fn add(&mut self, facts: &FileFacts) -> bool {
        self.device = facts.stat.st_dev;
        self.own.insert(facts.stat.st_ino as u32, facts.id);
        let known = self.table.get(&(facts.stat.st_ino as u32)).is_some_and(|found| !found.listens);
        known && (kind(facts) == libc::SOCK_STREAM || !has_error(&facts.file))
    }

    /// What the kernel tells of a socket.
    pub fn entry(&self, facts: &FileFacts) -> Option<&UnixSocket> {
        self.table.get(&(facts.stat.st_ino as u32))
    }

    /// What the kernel tells of a socket of this inode.
    pub fn by_inode(&self, inode: u32) -> Option<&UnixSocket> {
        self.table.get(&inode)
    }

    /// The socket of the group that has this inode.
    pub fn own(&self, inode: u32) -> Option<FileId> {
        self.own.get(&inode).copied()
    }

    /// What a socket is connected to.
    pub fn link(&self, facts: &FileFacts) -> Link {
        let Some(found) = self.entry(facts) else { return Link::Unknown };
        match found.peer {
            _ if found.listens => Link::Listens,
            None => Link::Nothing,
            Some(0) => match self.waits_at.get(&found.inode) {
                Some(listener) => self.own(*listener).map_or(Link::WaitsOutside(*listener), Link::WaitsAt),
                // Whose other end was closed may neither receive nor send; this one is connected to somebody.
                None if found.is_stream && found.shutdown != 3 => Link::Unknown,
                None => Link::Gone,
            },
            Some(peer) => self.own(peer).map_or(Link::Outside(peer), Link::Inside),
        }
    }

    /// Device and inode of the sockets outside the group to which it has connections.
    pub fn outside(&self) -> BTreeSet<(u64, u64)> {
        let listeners = self.own.keys().filter_map(|own| self.waits_at.get(own));
        let clients = self.own.keys().filter_map(|own| self.table.get(own)).flat_map(|found| &found.waiting);
        let peers = self.own.keys().filter_map(|own| self.table.get(own)?.peer.as_ref());
        let all = listeners.chain(clients).chain(peers).filter(|inode| **inode != 0 && !self.own.contains_key(inode));
        all.map(|inode| (self.device, u64::from(*inode))).collect()
    }

    /// The name of a socket.
    pub fn name(facts: &FileFacts) -> Option<Name> {
        Name::of_address(&socket::own_address(&facts.file).unwrap_or_default())
    }

    /// Whether a socket has been bound to its name itself. Otherwise it has the name of the one that accepted it.
    pub fn is_bound(&self, facts: &FileFacts, name: &Name, link: Link) -> bool {
        if kind(facts) == libc::SOCK_DGRAM || matches!(link, Link::Listens | Link::Nothing) {
            return true;
        }
        let own = facts.stat.st_ino as u32;
        let same = |other: &&UnixSocket| other.name.as_deref().and_then(Name::of).as_ref() == Some(name);
        if self.table.values().filter(same).any(|other| other.listens && other.inode != own) {
            return false;
        }
        match name {
            Name::Abstract(_) => name::is_taken(name, kind(facts)),
            Name::Path(_) => {
                let asked = socket::bound_file(&facts.file)
                    .and_then(|file| Ok((UnixAddress::of_descriptor(&file)?, file)))
                    .and_then(|(address, _file)| socket::connect(&socket::unix(libc::SOCK_DGRAM)?, &address));
                asked != Err(Errno::ECONNREFUSED)
            }
        }
    }

    /// Whether a connection, told by the inodes of its ends, was made to a name that one of them has. An end of a pair may have
    /// one from the kernel, too, at which nobody listens; and in a pair both ends are connected to each other.
    fn is_to_a_name(&self, own: u32, peer: u32) -> bool {
        let mutual = self.table.get(&peer).is_some_and(|found| found.peer == Some(own));
        let listened =
            |name: &Vec<u8>| self.table.values().any(|other| other.listens && other.name.as_ref() == Some(name));
        let name = |inode| self.table.get(&inode).and_then(|found| found.name.as_ref());
        [own, peer].into_iter().filter_map(name).any(|name| !(mutual && name::is_automatic(name)) || listened(name))
    }

    /// Whether a socket is an end of a pair whose other end, outside the group, has this inode.
    pub fn is_pair(&self, facts: &FileFacts, peer: u32) -> bool {
        self.table.contains_key(&peer) && !self.is_to_a_name(facts.stat.st_ino as u32, peer)
    }

    /// The processes that hold the socket of this inode outside the group.
    pub fn holders<'a>(&self, inode: u32, files: &'a FilesFacts) -> &'a [super::super::Holder] {
        files.held_outside_at((self.device, u64::from(inode)))
    }
}

/// Processes outside the group that serve it, or that it serves: they hold the other end of a connection that was made to a
/// name.
pub fn servers_and_clients(files: &FilesFacts) -> Vec<Pid> {
    let sockets = &files.sockets;
    let other_end = |facts: &FileFacts| match sockets.link(facts) {
        Link::Outside(peer) => sockets.is_to_a_name(facts.stat.st_ino as u32, peer).then_some(peer),
        Link::WaitsOutside(listener) => Some(listener),
        _ => None,
    };
    let others = files.files.iter().filter(|facts| is_unix(facts)).filter_map(other_end);
    others.flat_map(|inode| sockets.holders(inode, files)).map(|holder| holder.process.pid).collect()
}

/// Processes outside the group that cannot be cut from it: the other end of a pair is theirs, or a socket is
/// theirs too.
pub fn joined(files: &FilesFacts) -> Vec<Pid> {
    let mut pids = Vec::new();
    for facts in files.files.iter().filter(|facts| is_unix(facts)) {
        let holders = match files.sockets.link(facts) {
            Link::Outside(peer) if files.sockets.is_pair(facts, peer) => files.sockets.holders(peer, files),
            Link::Outside(_) | Link::WaitsOutside(_) => continue,
            _ => &[],
        };
        pids.extend(holders.iter().chain(files.held_outside(&facts.stat)).filter_map(|holder| holder.here));
    }
    pids
}
