//! Unix sockets, unix(7): pairs and connections within the group, listening sockets with those who wait to be accepted,
//! what waits in all of them, their names and options.
//!
//! [`facts`] is what the survey sees, [`judge`] what stands in the way; [`queue`], [`name`] and [`options`] are the parts
//! of a socket. A thaw makes all sockets together ([`connections`]) and fills them when every file is there that may be
//! on its way in one ([`contents`]).

// zoo: unix_pairs unix_connected unix_options unix_waiting unix_waiting_data unix_senders unix_names unix_closed passed_descriptors passed_sockets passed_pidfd

mod connections;
mod contents;
pub mod facts;
mod judge;
pub mod name;
mod options;
pub mod queue;
pub mod services;

use std::os::fd::OwnedFd;

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Put, Restore};
use crate::kernel::among::among;
use crate::kernel::socket;
use crate::kernel::stand_in::Person;
use crate::kernel::{Errno, namespaces};
use crate::proc;
use crate::resource::moves::Moving;
use crate::resource::namespace::inner;
use crate::resource::owners::Walk;
use facts::{Link, Sockets, Waiting};
use name::{Name, SocketFile};
use options::Options;
use queue::{From, Message};

/// The kind.
#[derive(Debug)]
pub struct Unix;

/// A unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET.
    kind: i32,
    /// Its name.
    name: Option<Name>,
    /// It was bound to the name itself; otherwise it has the name of the socket that accepted it.
    bound: bool,
    /// Its file; none: it is not at a path, or its name was removed.
    file: Option<SocketFile>,
    /// What it is connected to.
    state: State,
    /// Whom SO_PEERCRED shows.
    peer: Option<Credentials>,
    /// Which of its halves are shut: 1 receiving, 2 sending.
    shutdown: u8,
    /// What waits in it, oldest first.
    queue: Vec<Message>,
    /// Its options.
    options: Options,
    /// User, group and permissions of its inode.
    owner: (u32, u32, u32),
    /// Who holds it.
    holder: Credentials,
}

/// What a socket is connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// Nothing.
    Idle,
    /// It listens.
    Listening {
        /// How many may wait.
        backlog: u32,
        /// Who waits to be accepted, oldest first.
        waiting: Vec<FileId>,
    },
    /// It waits to be accepted by this one.
    Waiting(FileId),
    /// This one. Datagram sockets may be connected one way only.
    Connected(FileId),
    /// One that was closed.
    Gone {
        /// Its name.
        name: Option<Name>,
        /// Something waited in it when it was closed: ECONNRESET.
        reset: bool,
        /// It was not closed: the freeze has cut the connection.
        #[serde(default)]
        cut: bool,
    },
    /// For datagrams: one outside the group, to which it is connected again.
    Outside(Name),
}

/// Whom the kernel notes as the maker of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Credentials {
    /// The pid.
    pid: Pid,
    /// The user.
    user: u32,
    /// The group.
    group: u32,
    /// The supplementary groups.
    groups: Vec<u32>,
}

impl std::convert::From<&Credentials> for Person {
    fn from(credentials: &Credentials) -> Self {
        let Credentials { pid, user, group, groups } = credentials.clone();
        Self { pid, user, group, groups }
    }
}

impl FileKind for Unix {
    type Record = Record;

    fn name(&self) -> &'static str {
        "unix"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        facts::is_unix(facts)
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        judge::judge(facts, files)
    }

    fn capture(&self, facts: &FileFacts, capture: &mut Capture<'_>) -> Result<Record, Problem> {
        record(facts, capture.files).map_err(|errno| {
            facts.problem(ProblemKind::UnixSocket, phrase!("its state cannot be read: {why}", why = errno.desc()))
        })
    }

    fn moved(&self, record: &mut Record, moving: &mut Moving<'_>) {
        // Its name stays what the program was told; its file is put where that has moved to.
        if let Some(file) = &mut record.file {
            moving.path(&mut file.path);
        }
        if let State::Outside(Name::Path(path)) = &mut record.state {
            moving.path(path);
        }
    }

    fn led(&self, record: &mut Record, walk: &mut Walk<'_>) {
        let Record { file, peer, holder, owner, queue, .. } = record;
        for credentials in peer.iter_mut().chain([holder]) {
            walk.user(&mut credentials.user);
            walk.group(&mut credentials.group);
            walk.groups(&mut credentials.groups);
        }
        walk.user(&mut owner.0);
        walk.group(&mut owner.1);
        if let Some(file) = file {
            walk.both(&mut file.owner);
            file.maker.led(walk);
        }
        for (_, user, group) in queue.iter_mut().filter_map(|message| message.credentials.as_mut()) {
            walk.user(user);
            walk.group(group);
        }
    }

    fn preflight(&self, record: &Record, _file: &OpenFile) -> Vec<Problem> {
        let mut problems: Vec<Problem> = record.file.iter().flat_map(SocketFile::preflight).collect();
        if let Some(name) = record.name.as_ref().filter(|name| record.bound && matches!(name, Name::Abstract(_)))
            && name::is_taken(name, record.kind)
        {
            let problem =
                Problem::blocks(ProblemKind::UnixSocket, phrase!("another program has its abstract name now"));
            problems.push(problem.at(name.shown()).way_out(phrase!("End that program, then thaw again")));
        }
        if let State::Outside(name) = &record.state
            && !judge::can_be_reached(name, &record.holder)
        {
            let what = phrase!("nobody receives there any more, or its holder may not send there");
            let problem = Problem::loses(ProblemKind::UnixSocket, what, phrase!("the connection of a datagram socket"));
            problems.push(problem.at(name.shown()));
        }
        let is_cut = matches!(record.state, State::Gone { cut: true, .. });
        if let Some(peer) = record.peer.as_ref().filter(|_| !is_cut)
            && (peer.pid.0 < 1 || proc::folder(peer.pid).exists())
        {
            let what = phrase!("another process has the pid {pid} of who made a connection", pid = peer.pid);
            problems.push(Problem::loses(ProblemKind::UnixSocket, what, phrase!("the pid that SO_PEERCRED shows")));
        }
        problems
    }

    fn restore(
        &self,
        _record: &Record,
        id: FileId,
        _file: &OpenFile,
        restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        connections::make_all(restore)?;
        restore.made.remove(&id).ok_or_else(|| lie("a unix socket that cannot be made"))
    }

    fn makes_several(&self) -> bool {
        true
    }

    fn put(&self, record: &Record, made: &OwnedFd) -> Option<Put> {
        record.file.as_ref()?.put(made).ok()
    }

    fn complete(&self, restore: &mut Restore<'_>) -> Result<(), Problem> {
        contents::complete(restore)
    }
}

/// An image that contradicts itself.
fn lie(what: &str) -> Problem {
    Problem::blocks(ProblemKind::Image, phrase!("the image contradicts itself: it has {what}", what))
}

/// A step of making a socket that has failed.
fn failed(record: &Record, what: Phrase) -> impl Fn(Errno) -> Problem {
    move |errno| {
        let problem = Problem::blocks(
            ProblemKind::UnixSocket,
            phrase!("a unix socket cannot {what}: {why}", what, why = errno.desc()),
        );
        match &record.name {
            Some(name) => problem.at(name.shown()),
            None => problem.at(phrase!("a unix socket without a name")),
        }
    }
}

/// The unix sockets among the records.
fn records(open_files: &[OpenFile]) -> Result<Vec<(FileId, Record)>, Problem> {
    let own = open_files.iter().enumerate().filter(|(_, file)| file.kind == FileKind::name(&Unix));
    own.map(|(index, file)| Ok((FileId(index), super::typed(file)?))).collect()
}

fn record(facts: &FileFacts, files: &FilesFacts) -> Result<Record, Errno> {
    let kind = facts::kind(facts);
    let sockets = &files.sockets;
    let link = sockets.link(facts);
    let entry = sockets.entry(facts).ok_or(Errno::ENOENT)?;
    let name = Sockets::name(facts);
    let bound = name.as_ref().is_some_and(|name| sockets.is_bound(facts, name, link));
    let file = match &name {
        Some(Name::Path(_)) if bound => SocketFile::capture(facts)?,
        _ => None,
    };
    let queue = match sockets.queues.get(&facts.id) {
        Some(Ok(queue)) => queue.iter().map(|waiting| message(facts, kind, waiting, link, files)).collect(),
        Some(Err(errno)) => return Err(*errno),
        None => Vec::new(),
    };
    Ok(Record {
        kind,
        bound,
        file,
        state: state(facts, link, entry.backlog, files)?,
        peer: peer(facts)?,
        shutdown: entry.shutdown,
        queue,
        options: Options::capture(&facts.file, kind)?,
        owner: (facts.stat.st_uid, facts.stat.st_gid, facts.stat.st_mode & 0o7777),
        holder: Credentials {
            pid: facts.holders.first().map_or(facts.process.pid, |(pid, _)| *pid),
            user: facts.owner.user,
            group: facts.owner.group,
            groups: facts.owner.groups.clone(),
        },
        name,
    })
}

fn state(facts: &FileFacts, link: Link, backlog: u32, files: &FilesFacts) -> Result<State, Errno> {
    let sockets = &files.sockets;
    Ok(match link {
        Link::Nothing => State::Idle,
        Link::Listens => {
            let waiting = sockets.entry(facts).map(|found| found.waiting.as_slice()).unwrap_or_default();
            let own = waiting.iter().filter(|client| !judge::is_client_cut(facts, **client, files));
            let waiting = own.map(|client| sockets.own(*client).ok_or(Errno::ENOENT)).collect::<Result<_, _>>()?;
            State::Listening { backlog, waiting }
        }
        Link::WaitsAt(listener) => State::Waiting(listener),
        Link::Inside(peer) => State::Connected(peer),
        Link::Gone => State::Gone {
            name: Name::of_address(&socket::peer_address(&facts.file)?),
            reset: facts::has_error(&facts.file),
            cut: false,
        },
        Link::Outside(_) | Link::WaitsOutside(_) if judge::is_cut(facts, files) => {
            State::Gone { name: Name::of_address(&socket::peer_address(&facts.file)?), reset: false, cut: true }
        }
        Link::Outside(_) => {
            let name = Name::of_address(&socket::peer_address(&facts.file)?);
            State::Outside(name.ok_or(Errno::ENOTCONN)?)
        }
        Link::WaitsOutside(_) | Link::Unknown => return Err(Errno::ENOTCONN),
    })
}

/// Does something in the network and among the mounts that a file of the group belongs to.
pub(super) fn at_home_of<T>(
    (open_files, namespaces): (&[OpenFile], &[Option<OwnedFd>]),
    file: FileId,
    work: impl FnOnce() -> Result<T, Problem>,
) -> Result<T, Problem> {
    let file = open_files.get(file.0);
    let namespace = |index: Option<usize>| namespaces.get(index?)?.as_ref();
    let work = || match namespace(file.and_then(|file| file.mounts)) {
        None => work(),
        Some(mounts) => among(mounts, work).map_err(|errno| inner::unmade("mnt", errno))?,
    };
    match namespace(file.and_then(|file| file.network)) {
        None => work(),
        Some(network) => namespaces::visit(network, "net", work).map_err(|errno| inner::unmade("net", errno))?,
    }
}

/// SO_PEERCRED and SO_PEERGROUPS.
fn peer(facts: &FileFacts) -> Result<Option<Credentials>, Errno> {
    const SO_PEERGROUPS: i32 = 59;
    const NOBODY: u32 = u32::MAX;
    let bytes = socket::option_bytes(&facts.file, libc::SO_PEERCRED, 12)?;
    let word = |bytes: &[u8]| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let [pid, user, group] = bytes.chunks_exact(4).map(word).collect::<Vec<_>>()[..] else { return Err(Errno::EINVAL) };
    if pid == 0 && user == NOBODY {
        return Ok(None);
    }
    let groups = match socket::option_bytes(&facts.file, SO_PEERGROUPS, 4 * 65_536) {
        Ok(bytes) => bytes.chunks_exact(4).map(word).collect(),
        Err(Errno::ENODATA | Errno::ENOPROTOOPT) => Vec::new(),
        Err(errno) => return Err(errno),
    };
    Ok(Some(Credentials { pid: Pid(pid as i32), user, group, groups }))
}

fn message(facts: &FileFacts, kind: i32, waiting: &Waiting, link: Link, files: &FilesFacts) -> Message {
    Message {
        bytes: ByteBuf::from(waiting.bytes.clone()),
        files: waiting.files.clone(),
        credentials: waiting.credentials,
        from: if kind == libc::SOCK_DGRAM { sender(facts, waiting.from.as_ref(), link, files) } else { From::Peer },
    }
}

/// The socket that a datagram was sent from: the peer if it fits, or another that has its name; of those without a name
/// one that is connected to this one.
fn sender(facts: &FileFacts, name: Option<&Name>, link: Link, files: &FilesFacts) -> From {
    let is_named = |file: &FileFacts| Sockets::name(file).as_ref() == name;
    if let Link::Inside(peer) = link
        && is_named(&files.files[peer.0])
    {
        return From::Peer;
    }
    if link == Link::Gone && Name::of_address(&socket::peer_address(&facts.file).unwrap_or_default()).as_ref() == name {
        return From::Peer;
    }
    let datagrams = files.files.iter().filter(|file| facts::is_unix(file) && facts::kind(file) == libc::SOCK_DGRAM);
    let sends_here = |file: &&FileFacts| name.is_some() || files.sockets.link(file) == Link::Inside(facts.id);
    match datagrams.filter(|file| is_named(file)).find(sends_here) {
        Some(file) => From::Socket(file.id),
        None => From::Name(name.cloned()),
    }
}
