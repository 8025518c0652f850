//! What the survey sees of the TCP sockets of a group: who is connected to whom, `/proc/net/tcp`.

// zoo: no kind

use std::collections::HashMap;
use std::net::SocketAddr;

use super::super::super::{FileFacts, FileId, FilesFacts, Holder};
use super::super::address::Address;
use crate::kernel::{Answer, Errno, anonymous, inet, socket};
use crate::proc;
use crate::proc::tcp::{self, TcpLine};

/// `TCP_*` of include/net/tcp_states.h: it is connected.
pub const ESTABLISHED: u8 = 1;
/// It asks to be connected.
pub const SYN_SENT: u8 = 2;
const SYN_RECEIVED: u8 = 3;
/// It has sent its end, which was not answered yet.
pub const FIN_WAIT_1: u8 = 4;
/// Its end was answered, the other end's has not come.
pub const FIN_WAIT_2: u8 = 5;
/// It is not connected.
pub const CLOSED: u8 = 7;
/// The other end's end has come.
pub const CLOSE_WAIT: u8 = 8;
/// The other end's end has come, and its own was not answered yet.
pub const LAST_ACK: u8 = 9;
/// It listens.
pub const LISTENING: u8 = 10;
/// Both have sent their ends at the same time.
pub const CLOSING: u8 = 11;

/// The TCP sockets.
#[derive(Debug, Default)]
pub struct Connections {
    /// All of this network namespace.
    lines: Vec<TcpLine>,
    /// Their places in that list, by their own address and their peer's.
    places: HashMap<(SocketAddr, SocketAddr), usize>,
    /// Those of the group that have a peer, by their own address and their peer's.
    own: HashMap<(SocketAddr, SocketAddr), FileId>,
    /// Those of the group that listen.
    listeners: Vec<(FileId, Address)>,
    /// The device that all sockets lie on.
    device: u64,
}

/// What a socket is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Nothing, and it never was.
    Nothing,
    /// It listens.
    Listens,
    /// It waits for the answer of who is to accept it.
    Asks(Address),
    /// A socket of the group.
    Inside(FileId),
    /// A listening socket of the group that has not accepted it yet; so much of what it has sent waits there, bytes.
    WaitsAt(FileId, u32),
    /// A socket that was closed on this machine.
    Gone(Address),
    /// A socket that was closed while something from it was on its way, which only the kernel has.
    Closing(Address),
    /// One outside the group, which has this inode; 0: none that can be seen.
    Outside(Address, u64),
    /// It was connected, and is not any more.
    Ended,
}

/// Whether a file is a TCP socket, by its protocol.
pub fn is_tcp(facts: &FileFacts) -> bool {
    facts.file_type() == libc::S_IFSOCK
        && facts.info.flags as i32 & libc::O_PATH == 0
        && matches!(socket::option(&facts.file, libc::SO_DOMAIN), Ok(libc::AF_INET | libc::AF_INET6))
        && match socket::option(&facts.file, libc::SO_PROTOCOL) {
            Ok(libc::IPPROTO_TCP) => true,
            // One that listens, or does nothing yet: connections of this kind are refused by name.
            Ok(libc::IPPROTO_MPTCP) => {
                let plain = Info::of(&facts.file).is_ok_and(|info| matches!(info.state, CLOSED | LISTENING));
                plain && !shows(facts, libc::POLLRDHUP) && Address::peer(&facts.file).is_none()
            }
            _ => false,
        }
}

/// `struct tcp_info`, as far as it is used: tcp(7).
#[derive(Clone, Copy, Debug, Default)]
pub struct Info {
    /// The state.
    pub state: u8,
    /// Bits: 1 time stamps, 2 selective acknowledgement, 4 windows are shifted.
    pub options: u8,
    /// By how many bits: the other end's window, and its own.
    pub scale: (u8, u8),
    /// For one that listens: how many wait, and how many may.
    pub backlog: (u32, u32),
    /// The largest segment that it has said to take, bytes.
    pub segment: u32,
    /// Since when nothing came, milliseconds.
    pub quiet: u32,
}

impl Info {
    /// What the kernel tells of a socket.
    pub fn of(file: &impl std::os::fd::AsFd) -> Answer<Self> {
        let bytes = inet::option_bytes(file, libc::IPPROTO_TCP, libc::TCP_INFO, &[], 104)?;
        let word = |at: usize| {
            bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_ne_bytes).ok_or(Errno::EINVAL)
        };
        let [state, _, _, _, _, options, scale, ..] = bytes[..] else { return Err(Errno::EINVAL) };
        Ok(Self {
            state,
            options,
            scale: (scale & 0xf, scale >> 4),
            backlog: (word(24)?, word(28)?),
            segment: word(84)?,
            quiet: word(56)?,
        })
    }
}

/// While it waits for an answer, only the list tells to whom it is to be connected.
fn asks(facts: &FileFacts) -> Option<Address> {
    let lists = ["net/tcp", "net/tcp6"].into_iter();
    let mut lines = lists.flat_map(|list| proc::parsed_system(list, tcp::parse).unwrap_or_default());
    let line = lines.find(|line| line.inode == facts.stat.st_ino)?;
    let own = Address::own(&facts.file)?;
    let family = if own.ip.len() == 16 { libc::AF_INET6 } else { libc::AF_INET };
    Some(Address { interface: own.interface, ..Address::of_list(line.remote, family) })
}

/// Whether the end of all that the other end sent has come.
pub fn has_heard_the_end(facts: &FileFacts) -> bool {
    Info::of(&facts.file).is_ok_and(|info| matches!(info.state, CLOSE_WAIT | LAST_ACK | CLOSING))
}

/// Which of these poll(2) has for it.
pub fn shows(facts: &FileFacts, events: i16) -> bool {
    anonymous::poll(&facts.file, events).is_ok_and(|found| found & events != 0)
}

impl Connections {
    /// Looks at the group's sockets, and at who is at their other ends.
    pub fn of(files: &FilesFacts) -> Self {
        let mut found = Self::default();
        for facts in files.files.iter().filter(|facts| is_tcp(facts)) {
            found.device = facts.stat.st_dev;
            let Some(own) = Address::own(&facts.file) else { continue };
            match Address::peer(&facts.file) {
                Some(peer) => {
                    found.own.insert((own.listed(), peer.listed()), facts.id);
                }
                None if socket::option(&facts.file, libc::SO_ACCEPTCONN) == Ok(1) => {
                    found.listeners.push((facts.id, own));
                }
                None => {}
            }
        }
        if !found.own.is_empty() || !found.listeners.is_empty() {
            for list in ["net/tcp", "net/tcp6"] {
                found.lines.extend(proc::parsed_system(list, tcp::parse).unwrap_or_default());
            }
            let places = found.lines.iter().enumerate().filter(|(_, line)| !line.listens());
            found.places = places.map(|(place, line)| ((line.local, line.remote), place)).collect();
        }
        found
    }

    /// What a socket is connected to.
    pub fn link(&self, facts: &FileFacts) -> Link {
        let peer = Address::peer(&facts.file);
        let state = Info::of(&facts.file).map_or(CLOSED, |info| info.state);
        match (state, peer) {
            (LISTENING, _) => Link::Listens,
            (SYN_SENT, _) => asks(facts).map_or(Link::Nothing, Link::Asks),
            (_, Some(peer)) => self.other_end(facts, peer),
            (_, None) if shows(facts, libc::POLLRDHUP) => Link::Ended,
            (_, None) if socket::option(&facts.file, libc::SO_ACCEPTCONN) == Ok(1) => Link::Listens,
            (_, None) => Link::Nothing,
        }
    }

    fn other_end(&self, facts: &FileFacts, peer: Address) -> Link {
        let Some(own) = Address::own(&facts.file) else { return Link::Ended };
        let (own, theirs) = (own.listed(), peer.listed());
        if let Some(file) = self.own.get(&(theirs, own)) {
            return Link::Inside(*file);
        }
        let line = self.places.get(&(theirs, own)).map(|place| &self.lines[*place]);
        match line {
            Some(line) if line.inode != 0 => Link::Outside(peer, line.inode),
            Some(line) if matches!(line.state, ESTABLISHED | CLOSE_WAIT | SYN_RECEIVED) => {
                match self.listener(theirs) {
                    Some(listener) => Link::WaitsAt(listener, line.received),
                    None => Link::Outside(peer, 0),
                }
            }
            // All that it had sent has come, with the end of it.
            _ if has_heard_the_end(facts) && (line.is_some() || super::making::is_here(&peer)) => Link::Gone(peer),
            Some(_) => Link::Closing(peer),
            None => Link::Outside(peer, 0),
        }
    }

    /// The listening socket of the group that is asked for connections to this address.
    fn listener(&self, address: SocketAddr) -> Option<FileId> {
        let serves = |own: &Address| own.port == address.port() && (own.is_any() || own.listed() == address);
        let exact = self.listeners.iter().find(|(_, own)| own.listed() == address);
        exact.or_else(|| self.listeners.iter().find(|(_, own)| serves(own))).map(|(file, _)| *file)
    }

    /// Connections that wait to be accepted at this listening socket and are nobody's of the group: whence they come, and
    /// how many bytes wait in them.
    pub fn strangers(&self, listener: &FileFacts) -> Vec<(SocketAddr, u32)> {
        let waits = |line: &&TcpLine| {
            line.inode == 0
                && matches!(line.state, ESTABLISHED | CLOSE_WAIT)
                && self.listener(line.local) == Some(listener.id)
                && !self.own.contains_key(&(line.remote, line.local))
        };
        self.lines.iter().filter(waits).map(|line| (line.remote, line.received)).collect()
    }

    /// Those of the group that wait to be accepted there, in the order in which they came.
    pub fn waiting(&self, listener: FileId, files: &FilesFacts) -> Vec<FileId> {
        if !self.lines.iter().any(|line| line.inode == 0 && matches!(line.state, ESTABLISHED | CLOSE_WAIT)) {
            return Vec::new();
        }
        let mut found: Vec<(u32, FileId)> = (self.own.values())
            .map(|file| &files.files[file.0])
            .filter(|facts| matches!(self.link(facts), Link::WaitsAt(at, _) if at == listener))
            .map(|facts| (Info::of(&facts.file).map_or(0, |info| info.quiet), facts.id))
            .collect();
        found.sort_by_key(|(quiet, file)| (std::cmp::Reverse(*quiet), *file));
        found.into_iter().map(|(_, file)| file).collect()
    }

    /// The processes that hold the socket of this inode outside the group.
    pub fn holders<'a>(&self, inode: u64, files: &'a FilesFacts) -> &'a [Holder] {
        if inode == 0 { &[] } else { files.held_outside_at((self.device, inode)) }
    }

    /// Device and inode of the sockets outside the group that its own are connected to.
    pub fn outside(&self) -> impl Iterator<Item = (u64, u64)> {
        let device = self.device;
        let ends = self.own.keys().filter_map(|(own, peer)| self.places.get(&(*peer, *own)));
        ends.map(|place| self.lines[*place].inode).filter(|inode| *inode != 0).map(move |inode| (device, inode))
    }
}
