//! Sockets that talk with the kernel, netlink(7): their number and the groups that they listen to.

// zoo: netlink netlink_queue

use std::os::fd::OwnedFd;

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};

use super::options::{Options, Usual};
use super::{Inode, judge_any};
use crate::kernel::{Answer, Errno, anonymous, files, inet, socket};
use crate::resource::fd::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, typed};
use crate::resource::owners::Walk;

/// The kind.
#[derive(Debug)]
pub struct Netlink;

/// A netlink socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// SOCK_RAW or SOCK_DGRAM.
    kind: i32,
    /// The part of the kernel that it talks to, `NETLINK_*`.
    protocol: i32,
    /// Its number; 0: it is not bound.
    port: u32,
    /// The groups that it listens to, from 1 on.
    groups_joined: Vec<u32>,
    /// To whom it is connected: a number, and the first 32 groups.
    peer: (u32, u32),
    /// Its options.
    options: Options,
    /// User, group and permissions of its inode.
    inode: Inode,
}

const NETLINK_ADD_MEMBERSHIP: i32 = 1;
const NETLINK_LIST_MEMBERSHIPS: i32 = 9;
/// More groups than any part of the kernel has.
const MOST: usize = 4096;

/// The parts of the kernel whose sockets hold nothing but what is in the record: those for routes, devices and their news,
/// sockets, and the generic ones.
const KEPT: [i32; 4] =
    [libc::NETLINK_ROUTE, libc::NETLINK_KOBJECT_UEVENT, libc::NETLINK_GENERIC, libc::NETLINK_SOCK_DIAG];

impl FileKind for Netlink {
    type Record = Record;

    fn name(&self) -> &'static str {
        "netlink"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        let option = |option| socket::option(&facts.file, option).unwrap_or(-1);
        facts.file_type() == libc::S_IFSOCK
            && facts.info.flags as i32 & libc::O_PATH == 0
            && option(libc::SO_DOMAIN) == libc::AF_NETLINK
            && match option(libc::SO_PROTOCOL) {
                // As long as it has no number, nothing was said by it: it is not that of the audit daemon.
                libc::NETLINK_AUDIT => socket::own_address(&facts.file).is_ok_and(|own| words(&own).0 == 0),
                protocol => KEPT.contains(&protocol),
            }
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        let mut problems = judge_any(facts, files);
        if anonymous::poll(&facts.file, libc::POLLIN).is_ok_and(|events| events != 0) {
            let what = phrase!("messages of the kernel wait in it, which cannot be put there again");
            let problem = facts.loss(ProblemKind::Socket, what, phrase!("those messages"));
            problems.push(problem.way_out(phrase!("Try again when the program has taken them")));
        }
        problems
    }

    fn capture(&self, facts: &FileFacts, _capture: &mut Capture<'_>) -> Result<Record, Problem> {
        record(facts).map_err(|errno| {
            facts.problem(ProblemKind::Socket, phrase!("its state cannot be read: {why}", why = errno.desc()))
        })
    }

    fn led(&self, record: &mut Record, walk: &mut Walk<'_>) {
        record.inode.led(walk);
    }

    fn preflight(&self, record: &Record, _file: &OpenFile) -> Vec<Problem> {
        if !is_possible(record) {
            return vec![lie()];
        }
        let made = inet::open(libc::AF_NETLINK, record.kind, record.protocol);
        match made.and_then(|made| bind(record, &made)) {
            Ok(()) => Vec::new(),
            Err(Errno::EADDRINUSE) => {
                let what = phrase!("another program has the number {port} of a netlink socket", port = record.port);
                vec![Problem::loses(ProblemKind::Socket, what, phrase!("that number: it gets another one"))]
            }
            Err(errno) => vec![failed(errno)],
        }
    }

    fn restore(
        &self,
        record: &Record,
        _id: FileId,
        file: &OpenFile,
        _restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        if !is_possible(record) {
            return Err(lie());
        }
        make(record, file.flags).map_err(failed)
    }
}

fn lie() -> Problem {
    Problem::blocks(ProblemKind::Image, phrase!("the image contradicts itself: it has an impossible netlink socket"))
}

fn failed(errno: Errno) -> Problem {
    Problem::blocks(ProblemKind::Socket, phrase!("a netlink socket cannot be made again: {why}", why = errno.desc()))
}

/// What only a mightier user can have.
pub fn favours(open_files: &[OpenFile]) -> Vec<Phrase> {
    let own = open_files.iter().filter(|file| file.kind == FileKind::name(&Netlink));
    let records = own.filter_map(|file| typed::<Record>(file).ok());
    let mighty =
        records.filter(|record| record.options.is_mighty() || record.options.number(libc::SOL_NETLINK, 8).is_some());
    mighty.map(|_| phrase!("a netlink socket with an option that only root may set")).collect()
}

fn is_possible(record: &Record) -> bool {
    matches!(record.kind, libc::SOCK_RAW | libc::SOCK_DGRAM)
        && (KEPT.contains(&record.protocol) || is_unused_audit(record))
        && record.groups_joined.iter().all(|group| (1..=MOST as u32).contains(group))
}

fn is_unused_audit(record: &Record) -> bool {
    record.protocol == libc::NETLINK_AUDIT && record.port == 0 && record.groups_joined.is_empty()
}

/// The number and the groups in `struct sockaddr_nl`.
fn words(address: &[u8]) -> (u32, u32) {
    let word = |at: usize| address.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_ne_bytes);
    (word(4), word(8))
}

fn record(facts: &FileFacts) -> Answer<Record> {
    let option = |option| socket::option(&facts.file, option);
    let (kind, protocol) = (option(libc::SO_TYPE)?, option(libc::SO_PROTOCOL)?);
    let fresh = inet::open(libc::AF_NETLINK, kind, protocol)?;
    let listed = inet::option_bytes(&facts.file, libc::SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, &[], MOST / 8)?;
    let is_in = |group: &u32| {
        let bit = group - 1;
        let word = listed.chunks_exact(4).nth(bit as usize / 32);
        let word = word.and_then(|word| word.try_into().ok()).map_or(0, u32::from_ne_bytes);
        word >> (bit % 32) & 1 == 1
    };
    let (port, _) = words(&socket::own_address(&facts.file)?);
    Ok(Record {
        kind,
        protocol,
        port,
        groups_joined: (1..=MOST as u32).filter(is_in).collect(),
        peer: socket::peer_address(&facts.file).map(|peer| words(&peer)).unwrap_or_default(),
        options: Options::capture(&facts.file, &Usual::of(&fresh), false)?,
        inode: Inode::of(facts),
    })
}

/// `struct sockaddr_nl`.
fn address(port: u32, groups: u32) -> Vec<u8> {
    let mut bytes = (libc::AF_NETLINK as u16).to_ne_bytes().to_vec();
    bytes.extend([0; 2]);
    bytes.extend(port.to_ne_bytes());
    bytes.extend(groups.to_ne_bytes());
    bytes
}

fn bind(record: &Record, made: &OwnedFd) -> Answer<()> {
    if record.port == 0 { Ok(()) } else { inet::bind(made, &address(record.port, 0)) }
}

fn make(record: &Record, flags: i32) -> Answer<OwnedFd> {
    let made = inet::open(libc::AF_NETLINK, record.kind, record.protocol)?;
    record.inode.restore(&made)?;
    match bind(record, &made) {
        Err(Errno::EADDRINUSE) => inet::bind(&made, &address(0, 0))?,
        bound => bound?,
    }
    for group in &record.groups_joined {
        inet::set_option(&made, libc::SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, *group as i32)?;
    }
    if record.peer != (0, 0) {
        inet::connect(&made, &address(record.peer.0, record.peer.1))?;
    }
    record.options.prepare(&made)?;
    record.options.restore(&made, record.inode.user == 0)?;
    files::set_status(&made, flags)?;
    Ok(made)
}
