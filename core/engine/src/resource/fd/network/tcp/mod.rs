//! TCP, tcp(7): sockets that listen, with those who wait to be accepted; connections within the group, with all that is on
//! its way in them; connections that lead out of it, which are found
//! reset, or are kept on request ([`kept`]).
//!
//! [`facts`] is what the survey sees, [`judge`] what stands in the way and what would be lost. A thaw makes all sockets
//! together ([`making`]): the connections first, without a packet ([`repair`](crate::kernel::repair)), then who listens, then
//! who waits there.

// zoo: tcp_listening tcp_connected tcp_half_closed tcp_asking tcp_waiting tcp_waiting_data tcp_outside network_options multipath

pub mod facts;
mod judge;
pub mod kept;
mod making;
mod pair;
mod segment;

use std::os::fd::{AsFd, OwnedFd};

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::address::Address;
use super::options::Options;
use super::{Inode, first_free_port};
use crate::kernel::{Answer, Errno, files, inet, repair, socket};
use crate::resource::fd::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, typed};
use crate::resource::owners::Walk;
use facts::{Info, Link};
pub use making::is_here;

/// The kind.
#[derive(Debug)]
pub struct Tcp;

/// A TCP socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// AF_INET or AF_INET6.
    family: i32,
    /// IPPROTO_TCP, or IPPROTO_MPTCP for one that listens or does nothing yet.
    protocol: i32,
    /// Its own address; none: it has none yet.
    own: Option<Address>,
    /// What it is connected to.
    state: State,
    /// Its options.
    options: Options,
    /// User, group and permissions of its inode.
    inode: Inode,
}

/// What a TCP socket is connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// Nothing.
    Idle,
    /// It listens.
    Listening {
        /// How many may wait.
        backlog: u32,
        /// Who of the group waits to be accepted, oldest first.
        waiting: Vec<FileId>,
    },
    /// It asks to be connected there, and asks again after the thaw.
    Asks(Address),
    /// It waits to be accepted there, by a socket of the group.
    Waits {
        /// Where.
        to: Address,
        /// Which of its halves are shut: 1 receiving, 2 sending.
        shutdown: u8,
    },
    /// It is connected to this one.
    Connected {
        /// The other end.
        peer: FileId,
        /// What is in it.
        stream: Stream,
    },
    /// It is connected to one that was closed, which had this address.
    Gone {
        /// The address.
        to: Address,
        /// What is in it.
        stream: Stream,
    },
    /// It is connected to one outside the group, which is held off until it goes on.
    Kept {
        /// The other end's address.
        to: Address,
        /// What is in it.
        flow: Box<kept::Flow>,
    },
    /// It was connected to one outside the group, or to nobody any more: what was received can still be read, and then it
    /// is found reset.
    Ended {
        /// What was received.
        received: ByteBuf,
        /// The program has not been told yet.
        news: bool,
    },
}

/// One end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stream {
    /// What was received and waits to be read.
    received: ByteBuf,
    /// What the other end has sent, or is to send, and has not come yet.
    coming: ByteBuf,
    /// Which of its halves are shut: 1 receiving, 2 sending.
    shutdown: u8,
    /// The largest segment that it has said to take, bytes.
    segment: u32,
    /// By how many bits windows are shifted, the other end's and its own; none: they are not.
    scale: Option<(u8, u8)>,
    /// Selective acknowledgement was agreed upon.
    selective: bool,
    /// Time stamps were.
    stamps: bool,
}

impl Stream {
    /// What two ends agree upon, with nothing in it; what it is lacking itself is as on this machine.
    fn plain(&self) -> Self {
        Self {
            segment: if self.segment == 0 { 1460 } else { self.segment },
            scale: self.scale.map(|(theirs, own)| (own, theirs)),
            selective: self.selective,
            stamps: self.stamps,
            ..Self::default()
        }
    }
}

impl FileKind for Tcp {
    type Record = Record;

    fn name(&self) -> &'static str {
        "tcp"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        facts::is_tcp(facts)
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        judge::judge(facts, files)
    }

    fn capture(&self, facts: &FileFacts, capture: &mut Capture<'_>) -> Result<Record, Problem> {
        record(facts, capture.files).map_err(|errno| {
            let problem =
                facts.problem(ProblemKind::Socket, phrase!("its state cannot be read: {why}", why = errno.desc()));
            match errno {
                Errno::EPERM => problem.way_out(phrase!("Run Dormouse as root, or with CAP_NET_ADMIN")),
                Errno::EAGAIN => problem.way_out(phrase!("Try again in a moment")),
                _ => problem,
            }
        })
    }

    fn led(&self, record: &mut Record, walk: &mut Walk<'_>) {
        record.inode.led(walk);
    }

    fn preflight(&self, record: &Record, _file: &OpenFile) -> Vec<Problem> {
        making::preflight(record)
    }

    fn restore(
        &self,
        _record: &Record,
        id: FileId,
        _file: &OpenFile,
        restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        making::make_all(restore)?;
        restore.made.remove(&id).ok_or_else(|| lie("a TCP socket that cannot be made"))
    }
}

/// An image that contradicts itself.
fn lie(what: &str) -> Problem {
    Problem::blocks(ProblemKind::Image, phrase!("the image contradicts itself: it has {what}", what))
}

/// The TCP sockets among the records.
fn records(open_files: &[OpenFile]) -> Result<Vec<(FileId, Record)>, Problem> {
    let own = open_files.iter().enumerate().filter(|(_, file)| file.kind == FileKind::name(&Tcp));
    own.map(|(index, file)| Ok((FileId(index), typed(file)?))).collect()
}

/// What only a mightier user can have: a port of the system's, and some options.
pub fn favours(open_files: &[OpenFile]) -> Vec<Phrase> {
    let mut favours = Vec::new();
    for (_, record) in records(open_files).unwrap_or_default() {
        // Both ends of any other connection are the group's.
        let binds = match record.state {
            State::Idle | State::Listening { .. } | State::Asks(_) | State::Waits { .. } => true,
            // Whose other end is held off was the group's own, or it is given up.
            State::Connected { .. } | State::Gone { .. } | State::Kept { .. } | State::Ended { .. } => false,
        };
        if let Some(own) = record.own.as_ref().filter(|own| binds && own.port != 0 && own.port < first_free_port()) {
            favours.push(phrase!("a TCP socket at {own}, a port that only root may use", own = own.shown()));
        }
        // A kernel of these days lets nobody else choose what reaches a stream.
        if record.options.is_mighty() || record.options.has_filter() {
            favours.push(phrase!("a TCP socket with an option that only root may set"));
        }
    }
    favours
}

/// The connections between sockets of the group, when it has ended: nobody is to find their addresses in use. Called when
/// the processes are gone and only the engine has the sockets.
pub fn forget(files: &FilesFacts) {
    for facts in files.files.iter().filter(|facts| facts::is_tcp(facts)) {
        // Without CAP_NET_ADMIN they are closed like any other.
        let _ = match files.connections().link(facts) {
            // A connection that is closed in this mode ends without a packet, and leaves nothing behind.
            Link::Inside(_) => repair::begin(&facts.file),
            Link::Outside(..) | Link::Closing(_) | Link::Gone(_) if kept::keeps(facts, files).is_some() => {
                repair::begin(&facts.file)
            }
            // The kernel still has the other end: a reset ends it.
            Link::Gone(_) => reset_when_closed(&facts.file),
            _ => Ok(()),
        };
    }
}

/// SO_LINGER for no time: the other end is reset when this one is closed.
fn reset_when_closed(file: &impl AsFd) -> Answer<()> {
    let linger: Vec<u8> = [1_i32, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
    socket::set_option_bytes(file, libc::SO_LINGER, &linger)
}

fn record(facts: &FileFacts, files: &FilesFacts) -> Answer<Record> {
    let connections = files.connections();
    let (family, protocol) = kind(facts)?;
    let link = connections.link(facts);
    let received = || inet_received(facts);
    let state = match &link {
        Link::Nothing => State::Idle,
        Link::Listens => {
            let (_, backlog) = Info::of(&facts.file)?.backlog;
            State::Listening { backlog, waiting: connections.waiting(facts.id, files) }
        }
        Link::Asks(to) => State::Asks(to.clone()),
        Link::WaitsAt(_, _) => State::Waits {
            to: Address::peer(&facts.file).ok_or(Errno::ENOTCONN)?,
            shutdown: shut(facts, Info::of(&facts.file)?.state),
        },
        Link::Inside(peer) => State::Connected { peer: *peer, stream: stream(facts, Some(&files.files[peer.0]))? },
        Link::Gone(to) => match kept(facts, files, to)? {
            Some(kept) => kept,
            None => State::Gone { to: to.clone(), stream: stream(facts, None)? },
        },
        Link::Outside(peer, _) | Link::Closing(peer) => match kept(facts, files, peer)? {
            Some(kept) => kept,
            None => State::Ended { received: received()?, news: true },
        },
        Link::Ended => State::Ended { received: received()?, news: facts::shows(facts, libc::POLLERR) },
    };
    let usual = files.usual(family, libc::SOCK_STREAM, protocol)?;
    let connected = !matches!(state, State::Idle | State::Listening { .. });
    Ok(Record {
        family,
        protocol,
        own: Address::own(&facts.file),
        options: Options::capture(&facts.file, &usual, connected)?,
        inode: Inode::of(facts),
        state,
    })
}

/// The state of one that is kept; none: it is not, or has been reset meanwhile.
fn kept(facts: &FileFacts, files: &FilesFacts, to: &Address) -> Answer<Option<State>> {
    match files.kept().get(&facts.id) {
        Some(Ok(flow)) => Ok(Some(State::Kept { to: to.clone(), flow: Box::new(flow.clone()) })),
        None | Some(Err(Errno::ENOTCONN)) => Ok(None),
        Some(Err(errno)) => Err(*errno),
    }
}

/// SO_DOMAIN and SO_PROTOCOL.
fn kind(facts: &FileFacts) -> Answer<(i32, i32)> {
    Ok((socket::option(&facts.file, libc::SO_DOMAIN)?, socket::option(&facts.file, libc::SO_PROTOCOL)?))
}

/// What waits to be read.
fn inet_received(facts: &FileFacts) -> Answer<ByteBuf> {
    let waiting = files::bytes_waiting(&facts.file)?;
    if waiting == 0 {
        return Ok(ByteBuf::new());
    }
    // At the offset of the program's own looks, if it has one.
    let offset = inet::option(&facts.file, libc::SOL_SOCKET, libc::SO_PEEK_OFF).unwrap_or(-1);
    if offset >= 0 {
        socket::set_option(&facts.file, libc::SO_PEEK_OFF, -1)?;
    }
    let bytes = inet::peek_stream(&facts.file, waiting);
    if offset >= 0 {
        socket::set_option(&facts.file, libc::SO_PEEK_OFF, offset)?;
    }
    let bytes = bytes?;
    if bytes.len() == waiting { Ok(ByteBuf::from(bytes)) } else { Err(Errno::EAGAIN) }
}

/// One end, as it is; `peer`: the other one.
fn stream(facts: &FileFacts, peer: Option<&FileFacts>) -> Answer<Stream> {
    let info = Info::of(&facts.file)?;
    let (received, coming) = contents(facts, peer)?;
    Ok(Stream {
        received,
        coming: ByteBuf::from(coming),
        shutdown: shut(facts, info.state),
        segment: info.segment,
        scale: (info.options & 4 != 0).then_some(info.scale),
        selective: info.options & 2 != 0,
        stamps: info.options & 1 != 0,
    })
}

/// What was received, and what has not come yet. The programs stand still, and the kernel does not: it is asked again where
/// something came meanwhile.
fn contents(facts: &FileFacts, peer: Option<&FileFacts>) -> Answer<(ByteBuf, Vec<u8>)> {
    const TRIES: usize = 20;
    for _ in 0..TRIES {
        let received = inet_received(facts)?;
        let coming = match peer.map(|peer| Ok((peer, socket::unreceived(&peer.file)?))).transpose()? {
            // All that was sent has been answered for: it is here.
            Some((peer, unanswered)) if unanswered > 0 => {
                repair::on_its_way(&peer.file, &facts.file, unanswered as usize)?
            }
            _ => Vec::new(),
        };
        if files::bytes_waiting(&facts.file)? == received.len() {
            return Ok((received, coming));
        }
    }
    Err(Errno::EAGAIN)
}

/// Which of its halves are shut: 1 receiving, 2 sending.
fn shut(facts: &FileFacts, state: u8) -> u8 {
    use facts::{CLOSING, FIN_WAIT_1, FIN_WAIT_2, LAST_ACK};
    let finished = matches!(state, FIN_WAIT_1 | FIN_WAIT_2 | LAST_ACK | CLOSING);
    let deaf = facts::shows(facts, libc::POLLRDHUP) && !facts::has_heard_the_end(facts);
    u8::from(deaf) | u8::from(finished) << 1
}
