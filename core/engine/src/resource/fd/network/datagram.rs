//! Sockets of the network without connections: udp(7), and raw(7) and icmp(7) with it: bound and connected, in their groups,
//! with what waits in them as far as it came from this machine.

// zoo: udp udp_queues multicast network_options raw_socket

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::address::Address;
use super::multicast::{self, Membership};
use super::options::Options;
use super::{Inode, first_free_port, judge_any, taken};
use crate::kernel::{Answer, Errno, anonymous, files, inet, socket};
use crate::proc::{self, tcp};
use crate::resource::fd::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, typed};
use crate::resource::owners::Walk;

const KIND: ProblemKind = ProblemKind::Socket;

/// The kind.
#[derive(Debug)]
pub struct Datagrams;

/// A socket for datagrams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// AF_INET or AF_INET6.
    family: i32,
    /// SOCK_DGRAM or SOCK_RAW.
    kind: i32,
    /// IPPROTO_UDP, or any for a raw socket.
    protocol: i32,
    /// Its own address; none: it has none yet.
    own: Option<Address>,
    /// Where it is connected to.
    peer: Option<Address>,
    /// Which of its halves are shut: 1 receiving, 2 sending.
    shutdown: u8,
    /// The groups that it listens to.
    groups_joined: Vec<Membership>,
    /// What waits in it, oldest first.
    queue: Vec<Datagram>,
    /// Its options.
    options: Options,
    /// User, group and permissions of its inode.
    inode: Inode,
}

/// A datagram that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Datagram {
    /// The bytes.
    bytes: ByteBuf,
    /// From where it was sent.
    from: Address,
}

/// What waits in the sockets of a group; seen once, for an empty datagram behind others cannot be seen again.
pub type Queues = BTreeMap<FileId, Answer<Vec<Datagram>>>;

/// Whether a file is one of these.
fn is_ours(facts: &FileFacts) -> bool {
    let option = |option| socket::option(&facts.file, option).unwrap_or(-1);
    facts.file_type() == libc::S_IFSOCK
        && facts.info.flags as i32 & libc::O_PATH == 0
        && matches!(option(libc::SO_DOMAIN), libc::AF_INET | libc::AF_INET6)
        && match (option(libc::SO_TYPE), option(libc::SO_PROTOCOL)) {
            (libc::SOCK_RAW, _) => true,
            (libc::SOCK_DGRAM, protocol) => {
                matches!(protocol, libc::IPPROTO_UDP | libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6)
            }
            _ => false,
        }
}

impl FileKind for Datagrams {
    type Record = Record;

    fn name(&self) -> &'static str {
        "datagram"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        is_ours(facts)
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        let mut problems = judge_any(facts, files);
        const UDP_ENCAP: i32 = 100;
        if inet::option(&facts.file, libc::IPPROTO_UDP, UDP_ENCAP).is_ok_and(|how| how != 0) {
            let what =
                phrase!("the kernel takes packets of a tunnel out of it (UDP_ENCAP), which cannot be given back");
            problems.push(facts.problem(KIND, what).way_out(phrase!("Pause the group instead")));
        }
        let (lost, first) = match files.datagrams().get(&facts.id) {
            Some(Ok(queue)) => {
                let lost: Vec<_> = queue.iter().filter(|datagram| !can_come_back(facts, datagram)).collect();
                (lost.len(), lost.first().map(|datagram| datagram.from.shown()))
            }
            _ => (usize::from(waits(facts)), None),
        };
        if lost > 0 {
            let what = match first {
                Some(first) => {
                    phrase!("datagrams wait in it which cannot be put there again, the first from {first}", first)
                }
                None => phrase!("datagrams wait in it which cannot be put there again"),
            };
            let loss = phrase!("what waits in it, as a network may lose any datagram");
            problems.push(facts.loss(KIND, what, loss).way_out(phrase!("Try again when the program has taken them")));
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
        preflight(record)
    }

    fn restore(
        &self,
        _record: &Record,
        id: FileId,
        _file: &OpenFile,
        restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        make_all(restore)?;
        restore.made.remove(&id).ok_or_else(lie)
    }
}

fn lie() -> Problem {
    Problem::blocks(
        ProblemKind::Image,
        phrase!("the image contradicts itself: it has an impossible socket for datagrams"),
    )
}

fn records(open_files: &[OpenFile]) -> Result<Vec<(FileId, Record)>, Problem> {
    let own = open_files.iter().enumerate().filter(|(_, file)| file.kind == FileKind::name(&Datagrams));
    own.map(|(index, file)| Ok((FileId(index), typed(file)?))).collect()
}

/// What only a mightier user can have: a port of the system's, a raw socket, some options.
pub fn favours(open_files: &[OpenFile]) -> Vec<Phrase> {
    let mut favours = Vec::new();
    for (_, record) in records(open_files).unwrap_or_default() {
        let udp = record.protocol == libc::IPPROTO_UDP;
        let low = |own: &&Address| udp && own.port != 0 && own.port < first_free_port();
        if let Some(own) = record.own.as_ref().filter(low) {
            favours.push(phrase!("a UDP socket at {own}, a port that only root may use", own = own.shown()));
        }
        if record.kind == libc::SOCK_RAW {
            favours.push(phrase!("a raw socket, which only root may have"));
        }
        if record.options.is_mighty() {
            favours.push(phrase!("a socket with an option that only root may set"));
        }
    }
    favours
}

/// Whether something waits in it.
fn waits(facts: &FileFacts) -> bool {
    anonymous::poll(&facts.file, libc::POLLIN | libc::POLLRDHUP)
        .is_ok_and(|events| events & libc::POLLIN != 0 && events & libc::POLLRDHUP == 0)
}

/// What waits in the group's sockets for UDP; those of other protocols cannot be looked into. `lightly`: only the first datagram,
/// for an empty one behind others can be seen only once.
pub fn look(files: &FilesFacts, lightly: bool) -> Queues {
    let has =
        |facts: &FileFacts| anonymous::poll(&facts.file, libc::POLLIN).is_ok_and(|events| events & libc::POLLIN != 0);
    let ours = files.files.iter().filter(|facts| is_ours(facts) && has(facts));
    let udp = ours.filter(|facts| socket::option(&facts.file, libc::SO_PROTOCOL) == Ok(libc::IPPROTO_UDP));
    let udp = udp.filter(|facts| socket::option(&facts.file, libc::SO_TYPE) == Ok(libc::SOCK_DGRAM));
    udp.map(|facts| (facts.id, if lightly { first(facts) } else { queue(facts) })).collect()
}

/// The first datagram, unless it is empty.
fn first(facts: &FileFacts) -> Answer<Vec<Datagram>> {
    if files::bytes_waiting(&facts.file)? == 0 {
        return Ok(Vec::new());
    }
    let (_, _, from) = inet::peek(&facts.file, 0)?;
    let from = Address::of(&from).ok_or(Errno::EINVAL)?;
    Ok(vec![Datagram { bytes: ByteBuf::new(), from }])
}

/// Looked at with MSG_PEEK at SO_PEEK_OFF, which is set for that moment and put back.
fn queue(facts: &FileFacts) -> Answer<Vec<Datagram>> {
    const LONGEST: usize = 65_535;
    let before = socket::option(&facts.file, libc::SO_PEEK_OFF)?;
    let mut queue = Vec::new();
    let mut at = 0;
    let looked = loop {
        if let Err(errno) = socket::set_option(&facts.file, libc::SO_PEEK_OFF, at) {
            break Err(errno);
        }
        match inet::peek(&facts.file, LONGEST) {
            // One that is shut has come to its end.
            Ok((_, 0, from)) if from.is_empty() => break Ok(()),
            Ok((bytes, whole, from)) => {
                let Some(from) = Address::of(&from) else { break Err(Errno::EINVAL) };
                at += whole as i32;
                queue.push(Datagram { bytes: ByteBuf::from(bytes), from });
            }
            Err(Errno::EAGAIN) => break Ok(()),
            Err(errno) => break Err(errno),
        }
    };
    socket::set_option(&facts.file, libc::SO_PEEK_OFF, before)?;
    looked.map(|()| queue)
}

/// Whether a datagram can be sent again: from this machine, to an address that is one socket's alone.
fn can_come_back(facts: &FileFacts, datagram: &Datagram) -> bool {
    let own = Address::own(&facts.file);
    let device = inet::option_bytes(&facts.file, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, &[], 16);
    own.is_some_and(|own| !own.is_multicast())
        && device.is_ok_and(|name| name.iter().all(|byte| *byte == 0))
        && datagram.from.port != 0
        && is_here(&datagram.from)
}

fn is_here(address: &Address) -> bool {
    super::tcp::is_here(address)
}

fn record(facts: &FileFacts, files: &FilesFacts) -> Answer<Record> {
    let option = |option| socket::option(&facts.file, option);
    let (family, kind, protocol) = (option(libc::SO_DOMAIN)?, option(libc::SO_TYPE)?, option(libc::SO_PROTOCOL)?);
    let usual = files.usual(family, kind, protocol)?;
    let queue = match files.datagrams().get(&facts.id) {
        Some(Ok(queue)) => queue.iter().filter(|datagram| can_come_back(facts, datagram)).cloned().collect(),
        _ => Vec::new(),
    };
    let shut = anonymous::poll(&facts.file, libc::POLLRDHUP | libc::POLLHUP)?;
    Ok(Record {
        family,
        kind,
        protocol,
        own: Address::own(&facts.file),
        peer: Address::peer(&facts.file).or_else(|| listed_peer(facts, family, kind)),
        shutdown: match shut {
            _ if shut & libc::POLLHUP != 0 => 3,
            _ => u8::from(shut & libc::POLLRDHUP != 0),
        },
        groups_joined: multicast::capture(&facts.file, family)?,
        queue,
        options: Options::capture(&facts.file, &usual, false)?,
        inode: Inode::of(facts),
    })
}

/// The kernel names no peer without a port; of a raw socket its list does.
fn listed_peer(facts: &FileFacts, family: i32, kind: i32) -> Option<Address> {
    let lists = ["net/raw", "net/raw6"].into_iter().filter(|_| kind == libc::SOCK_RAW);
    let mut lines = lists.flat_map(|list| proc::parsed_system(list, tcp::parse).unwrap_or_default());
    let line = lines.find(|line| line.inode == facts.stat.st_ino)?;
    Some(Address::of_list(line.remote, family)).filter(|peer| !peer.is_any())
}

/// The image is untrusted.
fn is_possible(record: &Record) -> bool {
    let known = match record.kind {
        libc::SOCK_RAW => true,
        libc::SOCK_DGRAM => matches!(record.protocol, libc::IPPROTO_UDP | libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6),
        _ => false,
    };
    let senders = record.queue.iter().map(|datagram| &datagram.from);
    let mut addresses = record.own.iter().chain(&record.peer).chain(senders);
    known
        && matches!(record.family, libc::AF_INET | libc::AF_INET6)
        && addresses.all(|address| address.fits(record.family))
        && (record.queue.is_empty() || record.own.is_some())
}

fn name(record: &Record) -> Phrase {
    match (record.kind, record.protocol) {
        (libc::SOCK_RAW, _) => phrase!("a raw socket"),
        (_, libc::IPPROTO_UDP) => phrase!("a UDP socket"),
        _ => phrase!("an ICMP socket"),
    }
}

fn preflight(record: &Record) -> Vec<Problem> {
    let made = match open(record) {
        Ok(made) => made,
        Err(errno) => {
            let what = phrase!("{name} cannot be made again: {why}", name = name(record), why = errno.desc());
            return vec![
                Problem::blocks(KIND, what).way_out(phrase!("Thaw it as root, on a machine that has this protocol")),
            ];
        }
    };
    let mut problems = Vec::new();
    if let Some(own) = &record.own
        && let Err(errno) = bind(record, &made, own)
    {
        problems.push(taken::problem(name(record), "udp", own, record.options.device(), errno));
    }
    if let Some(peer) = &record.peer
        && peer.bytes().and_then(|bytes| inet::connect(&made, &bytes)).is_err()
    {
        let what = phrase!("there is no way any more to where {name} is connected", name = name(record));
        problems.push(Problem::loses(KIND, what, phrase!("that connection")).at(peer.shown()));
    }
    for group in record.groups_joined.iter().filter(|group| !group.is_possible()) {
        let what = phrase!("{name} listened to a group on an interface that is not here", name = name(record));
        problems.push(Problem::loses(KIND, what, phrase!("what is sent to that group")).at(group.shown()));
    }
    for datagram in &record.queue {
        if let Err(errno) = sender(record, datagram) {
            let what = phrase!("a datagram cannot be sent again from there: {why}", why = errno.desc());
            problems.push(Problem::loses(KIND, what, phrase!("a datagram that waited")).at(datagram.from.shown()));
        }
    }
    problems
}

fn open(record: &Record) -> Answer<OwnedFd> {
    let made = inet::open(record.family, record.kind, record.protocol)?;
    record.inode.restore(&made)?;
    inet::set_option(&made, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    record.options.prepare(&made)?;
    Ok(made)
}

/// One that is connected may have got its own address from that: where it is not here any more it gets another one.
fn bind(record: &Record, made: &OwnedFd, own: &Address) -> Answer<()> {
    match inet::bind(made, &own.bytes()?) {
        Err(Errno::EADDRNOTAVAIL) if record.peer.is_some() => {
            let any = Address { ip: ByteBuf::from(vec![0; own.ip.len()]), port: own.port, interface: None };
            inet::bind(made, &any.bytes()?)
        }
        bound => bound,
    }
}

/// A socket that sends what a datagram's sender has sent.
fn sender(record: &Record, datagram: &Datagram) -> Answer<OwnedFd> {
    let sender = inet::open(record.family, libc::SOCK_DGRAM, libc::IPPROTO_UDP)?;
    inet::set_option(&sender, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    inet::bind(&sender, &datagram.from.bytes()?)?;
    Ok(sender)
}

/// Makes all of them, each with what waits in it before there is another one that could get it.
fn make_all(restore: &mut Restore<'_>) -> Result<(), Problem> {
    let records = records(restore.open_files)?;
    if !records.iter().all(|(_, record)| is_possible(record)) {
        return Err(lie());
    }
    for (id, record) in &records {
        let made = make(record).map_err(failed(record))?;
        restore.made.insert(*id, made);
    }
    for (id, record) in &records {
        let made = restore.made.get(id).ok_or_else(lie)?;
        finish(record, made, restore.open_files[id.0].flags).map_err(failed(record))?;
    }
    Ok(())
}

fn failed(record: &Record) -> impl Fn(Errno) -> Problem {
    move |errno| {
        let problem = Problem::blocks(
            KIND,
            phrase!("{name} cannot be made again: {why}", name = name(record), why = errno.desc()),
        );
        match &record.own {
            Some(own) => problem.at(own.shown()),
            None => problem,
        }
    }
}

fn make(record: &Record) -> Answer<OwnedFd> {
    let made = open(record)?;
    let Some(own) = &record.own else { return Ok(made) };
    bind(record, &made, own)?;
    if !record.queue.is_empty() {
        const AMPLE: i32 = 1 << 29;
        let before = socket::option(&made, libc::SO_RCVBUF)?;
        let forced = socket::set_option(&made, libc::SO_RCVBUFFORCE, AMPLE);
        forced.or_else(|_| socket::set_option(&made, libc::SO_RCVBUF, AMPLE))?;
        for datagram in &record.queue {
            deliver(record, &made, datagram)?;
        }
        socket::set_option(&made, libc::SO_RCVBUF, before / 2)?;
        // SO_BUF_LOCK: the program has not chosen it.
        socket::set_option(&made, 72, 0)?;
    }
    Ok(made)
}

/// Sends a datagram again. For that moment the receiver is connected with its sender, so that nobody else gets it.
fn deliver(record: &Record, made: &OwnedFd, datagram: &Datagram) -> Answer<()> {
    // Whose address is taken or gone has been told of in the preflight.
    let Ok(sender) = sender(record, datagram) else { return Ok(()) };
    inet::connect(made, &datagram.from.bytes()?)?;
    let to = socket::own_address(made)?;
    let sent = inet::send(&sender, &datagram.bytes, &to)?;
    socket::disconnect(made)?;
    if sent == datagram.bytes.len() { Ok(()) } else { Err(Errno::EMSGSIZE) }
}

fn finish(record: &Record, made: &OwnedFd, flags: i32) -> Answer<()> {
    for group in record.groups_joined.iter().filter(|group| group.is_possible()) {
        group.restore(made)?;
    }
    if let Some(peer) = &record.peer {
        // Where there is no way any more it stays without a peer, as the preflight has said.
        let _ = peer.bytes().and_then(|bytes| inet::connect(made, &bytes));
    }
    record.options.restore(made, record.inode.user == 0)?;
    record.options.restore_reuse(made)?;
    match socket::shut(made, record.shutdown) {
        Ok(()) | Err(Errno::ENOTCONN) => files::set_status(made, flags),
        Err(errno) => Err(errno),
    }
}
