//! Sockets that see the traffic of an interface as it is on the link, packet(7): bound, with their filters, what they hear beside, and whom
//! they share the traffic with (PACKET_FANOUT). Those with a ring of memory are refused: the kernel does not show where in it
//! it is.

// zoo: packet_socket packet_ring

use std::os::fd::{AsFd, OwnedFd};

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::address::{name_of, number_of};
use super::options::Options;
use super::{Inode, judge_any};
use crate::kernel::{Answer, Errno, anonymous, files, inet, packet, socket};
use crate::resource::fd::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, typed};
use crate::resource::owners::Walk;

const KIND: ProblemKind = ProblemKind::Socket;
const PACKET: i32 = libc::SOL_PACKET;

/// The kind.
#[derive(Debug)]
pub struct Packets;

/// A packet socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// SOCK_RAW or SOCK_DGRAM.
    kind: i32,
    /// What it hears: ETH_P_*, in the order of this machine; 0: nothing.
    protocol: u16,
    /// The interface it is bound to; none: all.
    interface: Option<String>,
    /// What it hears beside, the last one first.
    memberships: Vec<Membership>,
    /// PACKET_COPY_THRESH.
    copy_threshold: u32,
    /// The number of its group, how its traffic is shared and how it is told, as PACKET_FANOUT has it; none: it is in none.
    fanout: Option<u32>,
    /// Its options.
    options: Options,
    /// User, group and permissions of its inode.
    inode: Inode,
}

/// What it hears beside what is sent to this machine, PACKET_ADD_MEMBERSHIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Membership {
    /// The interface.
    interface: String,
    /// PACKET_MR_MULTICAST, PACKET_MR_PROMISC, PACKET_MR_ALLMULTI or PACKET_MR_UNICAST.
    kind: u16,
    /// The address on the link.
    address: ByteBuf,
    /// How often it was asked for.
    count: u32,
}

/// Nobody asks more often for the same.
const OFTEN: u32 = 4096;

impl FileKind for Packets {
    type Record = Record;

    fn name(&self) -> &'static str {
        "packet"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        let option = |option| socket::option(&facts.file, option).unwrap_or(-1);
        facts.file_type() == libc::S_IFSOCK
            && facts.info.flags as i32 & libc::O_PATH == 0
            && option(libc::SO_DOMAIN) == libc::AF_PACKET
            && matches!(option(libc::SO_TYPE), libc::SOCK_RAW | libc::SOCK_DGRAM)
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        let mut problems = judge_any(facts, files);
        let mut refuse = |what| problems.push(facts.problem(KIND, what).way_out(phrase!("Pause the group instead")));
        match packet::look(facts.stat.st_ino) {
            Ok(Some(seen)) if seen.has_ring => refuse(phrase!(
                "it is a packet socket with a ring of memory (PACKET_MMAP), and the kernel does not show where in it it is"
            )),
            Ok(Some(seen)) if seen.fanout.is_some_and(is_shared_by_program) => refuse(phrase!(
                "a program in the kernel (BPF) shares the traffic out to it (PACKET_FANOUT), which is not shown"
            )),
            Ok(Some(_)) => {}
            Ok(None) => refuse(phrase!("it is a packet socket of another network namespace")),
            Err(errno) => refuse(phrase!("its state cannot be read: {why}", why = errno.desc())),
        }
        if bound(&facts.file).is_some_and(|(_, number)| number != 0 && name_of(number as u32).is_none()) {
            refuse(phrase!("the interface that it is bound to is gone"));
        }
        if anonymous::poll(&facts.file, libc::POLLIN).is_ok_and(|events| events & libc::POLLIN != 0) {
            let what = phrase!("packets wait in it which cannot be put there again");
            problems.push(facts.loss(KIND, what, phrase!("what waits in it, as a network may lose any packet")));
        }
        problems
    }

    fn capture(&self, facts: &FileFacts, capture: &mut Capture<'_>) -> Result<Record, Problem> {
        record(facts, capture.files)
            .map_err(|errno| facts.problem(KIND, phrase!("its state cannot be read: {why}", why = errno.desc())))
    }

    fn led(&self, record: &mut Record, walk: &mut Walk<'_>) {
        record.inode.led(walk);
    }

    fn preflight(&self, record: &Record, _file: &OpenFile) -> Vec<Problem> {
        if !is_possible(record) {
            return vec![lie()];
        }
        let mut problems: Vec<Problem> =
            inet::open(libc::AF_PACKET, record.kind, 0).err().map(failed).into_iter().collect();
        let beside = record.memberships.iter().map(|membership| &membership.interface);
        let mut names: Vec<&String> = record.interface.iter().chain(beside).collect();
        names.sort_unstable();
        names.dedup();
        for name in names.into_iter().filter(|name| number_of(name).is_err()) {
            let what = phrase!("a packet socket of the group listens at an interface that is not here");
            problems.push(
                Problem::blocks(KIND, what)
                    .at(name.clone())
                    .way_out(phrase!("Make an interface of this name (ip link), or thaw it on a machine that has one")),
            );
        }
        problems
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
    Problem::blocks(ProblemKind::Image, phrase!("the image contradicts itself: it has an impossible packet socket"))
}

fn failed(errno: Errno) -> Problem {
    Problem::blocks(KIND, phrase!("a packet socket cannot be made again: {why}", why = errno.desc()))
}

/// Only a mightier user can have any.
pub fn favours(open_files: &[OpenFile]) -> Vec<Phrase> {
    let own = open_files.iter().filter(|file| file.kind == FileKind::name(&Packets) && typed::<Record>(file).is_ok());
    own.map(|_| phrase!("a packet socket, which only root may have")).collect()
}

fn is_possible(record: &Record) -> bool {
    matches!(record.kind, libc::SOCK_RAW | libc::SOCK_DGRAM)
        && record.memberships.iter().all(|one| one.kind <= 3 && one.address.len() <= 32 && one.count <= OFTEN)
        && !record.fanout.is_some_and(is_shared_by_program)
}

/// PACKET_FANOUT_CBPF, PACKET_FANOUT_EBPF.
fn is_shared_by_program(fanout: u32) -> bool {
    matches!(fanout >> 16 & 0xff, 6 | 7)
}

/// Protocol and number of the interface, of `struct sockaddr_ll`.
fn bound(socket: &impl AsFd) -> Option<(u16, i32)> {
    let address = socket::own_address(socket).ok()?;
    let protocol = u16::from_be_bytes(address.get(2..4)?.try_into().ok()?);
    Some((protocol, i32::from_ne_bytes(address.get(4..8)?.try_into().ok()?)))
}

fn record(facts: &FileFacts, files: &FilesFacts) -> Answer<Record> {
    let kind = socket::option(&facts.file, libc::SO_TYPE)?;
    let (protocol, number) = bound(&facts.file).ok_or(Errno::EINVAL)?;
    let named = |number: u32| name_of(number).ok_or(Errno::ENODEV);
    let seen = packet::look(facts.stat.st_ino)?.ok_or(Errno::ENOENT)?;
    let membership = |seen: packet::Membership| {
        Ok(Membership {
            interface: named(seen.interface)?,
            kind: seen.kind,
            address: ByteBuf::from(seen.address),
            count: seen.count,
        })
    };
    Ok(Record {
        kind,
        protocol,
        interface: (number != 0).then(|| named(number as u32)).transpose()?,
        memberships: seen.memberships.into_iter().map(membership).collect::<Answer<_>>()?,
        copy_threshold: seen.copy_threshold,
        fanout: seen.fanout,
        options: Options::capture(&facts.file, &*files.usual(libc::AF_PACKET, kind, 0)?, false)?,
        inode: Inode::of(facts),
    })
}

/// It hears nothing before its filter is in place.
fn make(record: &Record, flags: i32) -> Answer<OwnedFd> {
    let made = inet::open(libc::AF_PACKET, record.kind, 0)?;
    record.inode.restore(&made)?;
    record.options.prepare(&made)?;
    record.options.restore(&made, record.inode.user == 0)?;
    record.options.restore_reuse(&made)?;
    if record.copy_threshold != 0 {
        inet::set_option(&made, PACKET, libc::PACKET_COPY_THRESH, record.copy_threshold as i32)?;
    }
    // The kernel tells of the last one first.
    for membership in record.memberships.iter().rev() {
        let request = membership.request()?;
        for _ in 0..membership.count {
            inet::set_option_bytes(&made, PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)?;
        }
    }
    let number = record.interface.as_deref().map_or(Ok(0), number_of)?;
    if record.protocol != 0 || number != 0 {
        inet::bind(&made, &address(record.protocol, number))?;
    }
    if let Some(fanout) = record.fanout {
        inet::set_option(&made, PACKET, libc::PACKET_FANOUT, fanout as i32)?;
    }
    files::set_status(&made, flags)?;
    Ok(made)
}

/// `struct sockaddr_ll`.
fn address(protocol: u16, interface: u32) -> Vec<u8> {
    let mut bytes = (libc::AF_PACKET as u16).to_ne_bytes().to_vec();
    bytes.extend(protocol.to_be_bytes());
    bytes.extend(interface.to_ne_bytes());
    bytes.resize(20, 0);
    bytes
}

impl Membership {
    /// `struct packet_mreq_max`: a longer address than eight bytes has its place too.
    fn request(&self) -> Answer<Vec<u8>> {
        let mut bytes = number_of(&self.interface)?.to_ne_bytes().to_vec();
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend((self.address.len() as u16).to_ne_bytes());
        bytes.extend(self.address.iter());
        bytes.resize(bytes.len().max(16), 0);
        Ok(bytes)
    }
}
