//! Sockets that are no unix sockets: [`tcp`], [`datagram`] for UDP and its like, [`netlink`], [`packet`], and [`other`], which refuses the
//! rest by name. [`address`] and [`options`] are what they have in common.

pub mod address;
pub mod datagram;
pub mod hold;
mod multicast;
pub mod netlink;
mod options;
pub mod other;
pub mod packet;
mod taken;
pub mod tcp;

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};

use options::Usual;

use super::{FileFacts, FilesFacts, OpenFile, socket_filter, subject};
use crate::kernel::{Answer, files, inet, socket};
use crate::resource::owners::Walk;

/// What is seen of the group's sockets, each looked up when it is first asked for.
#[derive(Debug, Default)]
pub struct Seen {
    connections: OnceCell<tcp::facts::Connections>,
    datagrams: OnceCell<datagram::Queues>,
    /// The connections to outside that are kept.
    kept: OnceCell<tcp::kept::Seen>,
    /// Whether their other ends can be held off.
    holds: OnceCell<Answer<()>>,
    /// What new sockets have, by family, type and protocol.
    usual: RefCell<HashMap<(i32, i32, i32), Arc<Usual>>>,
    /// Only the first datagram of a socket is looked at.
    lightly: bool,
}

impl FilesFacts {
    /// What is seen of the TCP sockets of the group.
    pub fn connections(&self) -> &tcp::facts::Connections {
        self.network.connections.get_or_init(|| tcp::facts::Connections::of(self))
    }

    /// Its connections to outside that are kept, as they are once their other ends are held off.
    pub fn kept(&self) -> &tcp::kept::Seen {
        self.network.kept.get_or_init(|| tcp::kept::look(self))
    }

    /// Whether this kernel can hold other ends of connections off.
    pub fn can_hold(&self) -> Answer<()> {
        *self.network.holds.get_or_init(hold::rehearse)
    }

    /// What a new socket of a sort has: asked of one of them, for all that the group has.
    pub fn usual(&self, family: i32, kind: i32, protocol: i32) -> Answer<Arc<Usual>> {
        let sort = (family, kind, protocol);
        if let Some(known) = self.network.usual.borrow().get(&sort) {
            return Ok(known.clone());
        }
        let usual = Arc::new(Usual::of(&inet::open(family, kind, protocol)?));
        self.network.usual.borrow_mut().insert(sort, usual.clone());
        Ok(usual)
    }

    /// What waits in its sockets for datagrams.
    pub fn datagrams(&self) -> &datagram::Queues {
        self.network.datagrams.get_or_init(|| datagram::look(self, self.network.lightly))
    }

    /// From now on nothing is looked at that could not be seen a second time.
    pub fn look_lightly(&mut self) {
        self.network.lightly = true;
    }
}

/// User, group and permissions of a socket's inode: as whom it binds, for others that are to share its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inode {
    /// The user.
    user: u32,
    /// The group.
    group: u32,
    /// None; that is how whoever looks for users in an image finds them.
    groups: Vec<u32>,
    /// The permissions.
    mode: u32,
}

impl Inode {
    fn of(facts: &FileFacts) -> Self {
        let (user, group, mode) = (facts.stat.st_uid, facts.stat.st_gid, facts.stat.st_mode & 0o7777);
        Self { user, group, groups: Vec::new(), mode }
    }

    fn led(&mut self, walk: &mut Walk<'_>) {
        walk.user(&mut self.user);
        walk.group(&mut self.group);
        walk.groups(&mut self.groups);
    }

    /// fchown(2), fchmod(2).
    fn restore(&self, made: &impl AsFd) -> Answer<()> {
        let stat = files::stat(made)?;
        if (stat.st_uid, stat.st_gid) != (self.user, self.group) {
            nix::unistd::fchown(made, Some(self.user.into()), Some(self.group.into()))?;
        }
        if stat.st_mode & 0o7777 != self.mode {
            nix::sys::stat::fchmod(made, nix::sys::stat::Mode::from_bits_truncate(self.mode))?;
        }
        Ok(())
    }
}

/// What the network needs that only somebody mightier than an ordinary user can have got, in an image: each for a person.
pub fn favours(open_files: &[OpenFile]) -> Vec<Phrase> {
    [tcp::favours(open_files), datagram::favours(open_files), netlink::favours(open_files), packet::favours(open_files)]
        .concat()
}

/// What a user's group has that an image of this user must not hold: it could not be woken for that user.
pub fn beyond(user: u32, files: &FilesFacts) -> Vec<Problem> {
    let option = |facts: &FileFacts, option| socket::option(&facts.file, option).unwrap_or(-1);
    let inet = |facts: &&FileFacts| {
        facts.file_type() == libc::S_IFSOCK
            && matches!(
                option(facts, libc::SO_DOMAIN),
                libc::AF_INET | libc::AF_INET6 | libc::AF_NETLINK | libc::AF_PACKET
            )
    };
    let why = |facts: &FileFacts| {
        if facts.stat.st_uid != user {
            return Some(phrase!("this socket belongs to user {user}", user = facts.stat.st_uid));
        }
        if option(facts, libc::SO_DOMAIN) == libc::AF_NETLINK {
            return None;
        }
        if option(facts, libc::SO_DOMAIN) == libc::AF_PACKET {
            return Some(phrase!("a packet socket is what only root may have"));
        }
        if option(facts, libc::SO_TYPE) == libc::SOCK_RAW {
            return Some(phrase!("a raw socket is what only root may have"));
        }
        let own = address::Address::own(&facts.file)?;
        let serves = option(facts, libc::SO_TYPE) == libc::SOCK_DGRAM || address::Address::peer(&facts.file).is_none();
        (serves && own.port != 0 && own.port < first_free_port())
            .then(|| phrase!("{own} is a port that only root may use", own = own.shown()))
    };
    let problem = |facts: &FileFacts| {
        let what = phrase!("{why}: the image could not be woken for user {user}", why = why(facts)?, user);
        Some(facts.problem(ProblemKind::Privilege, what).way_out(phrase!("Freeze it as root")))
    };
    files.files.iter().filter(inet).filter_map(problem).collect()
}

/// Ports below this one are the system's, `/proc/sys/net/ipv4/ip_unprivileged_port_start`.
fn first_free_port() -> u16 {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    text.trim().parse().unwrap_or(1024)
}

/// What stands in the way of any of these sockets.
fn judge_any(facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
    let mut problems = Vec::new();
    let together = phrase!("Freeze them together, or let that process close it");
    let held = subject(
        files.held_outside(&facts.stat),
        |who| phrase!("{who} holds it too and is not part of the group", who),
        |who| phrase!("{who} hold it too and are not part of the group", who),
    );
    problems.extend(held.map(|what| facts.problem(ProblemKind::Socket, what).way_out(together)));
    problems.extend(socket_filter::judge(ProblemKind::Socket, facts));
    problems
}
