//! Making the sockets of a group: those that stand alone, then connections. Each connection is made in the place of
//! whoever made it first, for SO_PEERCRED shows that one, and by way of a listening socket of the right name where one
//! end has its name from there.

// zoo: no kind

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use dormouse_wire::{Problem, phrase};

use super::super::{FileId, OpenFile, Restore};
use super::name::{Name, address_of};
use super::{Credentials, Record, State, at_home_of, failed, lie, records};
use crate::kernel::stand_in::{Person, in_place_of};
use crate::kernel::{Answer, Errno, files, socket};

/// The records, and what has been made of them.
#[derive(Debug)]
pub struct Plan {
    records: BTreeMap<FileId, Record>,
    made: BTreeMap<FileId, OwnedFd>,
    other_ends: BTreeMap<FileId, OwnedFd>,
}

/// One end of a connection to be made: a socket of the group, or one that is closed again when it has sent what it had.
#[derive(Clone, Copy, Debug)]
struct End<'a> {
    name: Option<&'a Name>,
    /// Bound to its name itself.
    bound: bool,
    /// The socket of the group.
    own: Option<(FileId, &'a Record)>,
    peer: Option<&'a Credentials>,
}

/// The files of the group, and the networks within it.
#[derive(Clone, Copy, Debug)]
struct Within<'a>(&'a [OpenFile], &'a [Option<OwnedFd>]);

impl Within<'_> {
    /// The network that a socket belongs to.
    fn network(self, id: FileId) -> Option<usize> {
        self.0.get(id.0).and_then(|file| file.network)
    }

    /// Does something there.
    fn run<T>(self, id: FileId, work: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
        at_home_of((self.0, self.1), id, work)
    }

    /// Does something where an end of a connection belongs, or else the other one.
    fn run_at<T>(self, end: End<'_>, other: End<'_>, work: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
        match end.own.or(other.own) {
            Some((id, _)) => self.run(id, work),
            None => work(),
        }
    }
}

/// Makes all unix sockets of the image.
pub fn make_all(restore: &mut Restore<'_>) -> Result<(), Problem> {
    let mut plan = Plan::of(restore.open_files)?;
    let within = Within(restore.open_files, restore.namespaces);
    plan.alone(within)?;
    plan.connections(within)?;
    for (id, made) in &plan.made {
        own(&plan.records[id], made).map_err(failed(&plan.records[id], phrase!("be given to its owner")))?;
    }
    restore.made.append(&mut plan.made);
    restore.other_ends.append(&mut plan.other_ends);
    Ok(())
}

/// Makes a call in somebody's place. Where another has the pid the engine makes it itself, as the preflight has said.
pub fn as_made_by(maker: Option<&Credentials>, work: &dyn Fn() -> Answer<[i32; 2]>) -> Answer<[i32; 2]> {
    match maker.filter(|maker| maker.pid.0 > 0) {
        None => work(),
        Some(maker) => match in_place_of(&Person::from(maker), work) {
            Err(Errno::EEXIST) => work(),
            other => other,
        },
    }
}

/// listen(2) in the place of whom a client is to see.
pub fn listen(listener: &OwnedFd, backlog: u32, shown: Option<&Credentials>) -> Answer<()> {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    as_made_by(shown, &|| socket::listen(listener, backlog).map(|()| [0; 2])).map(drop)
}

/// User, group and permissions, fchown(2), fchmod(2).
fn own(record: &Record, made: &OwnedFd) -> Answer<()> {
    let stat = files::stat(made)?;
    let (user, group, mode) = record.owner;
    if (stat.st_uid, stat.st_gid) != (user, group) {
        nix::unistd::fchown(made, Some(user.into()), Some(group.into()))?;
    }
    if stat.st_mode & 0o7777 != mode {
        nix::sys::stat::fchmod(made, nix::sys::stat::Mode::from_bits_truncate(mode))?;
    }
    Ok(())
}

impl Plan {
    /// Reads the records and checks that they fit together.
    pub fn of(open_files: &[OpenFile]) -> Result<Self, Problem> {
        let records: BTreeMap<FileId, Record> = records(open_files)?.into_iter().collect();
        for (id, record) in &records {
            check(*id, record, &records, open_files.len())?;
        }
        Ok(Self { records, made: BTreeMap::new(), other_ends: BTreeMap::new() })
    }

    /// The records.
    pub fn into_records(self) -> BTreeMap<FileId, Record> {
        self.records
    }

    /// Sockets that are not one end of a connection: listening ones first, for others are connected by them.
    fn alone(&mut self, within: Within<'_>) -> Result<(), Problem> {
        for (id, record) in &self.records {
            let stands_alone = match record.state {
                State::Connected(_) | State::Gone { .. } => record.kind == libc::SOCK_DGRAM && !self.is_paired(*id),
                State::Idle if record.kind == libc::SOCK_DGRAM => !self.is_paired(*id),
                _ => true,
            };
            if !stands_alone {
                continue;
            }
            let made = within.run(*id, || {
                let made = socket::unix(record.kind).map_err(failed(record, phrase!("be made again")))?;
                bind(record, &made)?;
                if let State::Listening { backlog, .. } = record.state {
                    listen(&made, backlog, record.peer.as_ref()).map_err(failed(record, phrase!("listen again")))?;
                }
                Ok(made)
            })?;
            self.made.insert(*id, made);
        }
        Ok(())
    }

    /// Whether a datagram socket must come from socketpair(2): it is connected to one that has no name, or is that one.
    fn is_paired(&self, id: FileId) -> bool {
        self.mate(id).is_some() || matches!(self.records[&id].state, State::Gone { name: None, .. })
    }

    /// The other end of such a pair.
    fn mate(&self, id: FileId) -> Option<FileId> {
        let nameless = |id: &FileId| self.records.get(id).is_some_and(|record| record.name.is_none());
        if let State::Connected(peer) = self.records[&id].state
            && nameless(&peer)
        {
            return Some(peer);
        }
        if !nameless(&id) {
            return None;
        }
        let connected = |(other, record): (&FileId, &Record)| (record.state == State::Connected(id)).then_some(*other);
        self.records.iter().find_map(connected)
    }

    fn connections(&mut self, within: Within<'_>) -> Result<(), Problem> {
        for id in self.records.keys().copied().collect::<Vec<_>>() {
            if self.made.contains_key(&id) {
                continue;
            }
            let record = &self.records[&id];
            let peer = match record.state {
                _ if record.kind == libc::SOCK_DGRAM => self.mate(id),
                State::Connected(peer) => Some(peer),
                _ => None,
            };
            let peer = peer.filter(|peer| *peer != id && !self.made.contains_key(peer));
            let one = end(id, record);
            let other = match (peer, &record.state) {
                (Some(peer), _) => end(peer, &self.records[&peer]),
                // One that was closed had its name from a listening socket, unless this one has.
                (None, State::Gone { name, .. }) => {
                    End { name: name.as_ref(), bound: one.is_accepted(), own: None, peer: None }
                }
                (None, _) => return Err(lie("a unix socket whose other end is missing")),
            };
            let (made, other_made) = self.connect(one, other, within)?;
            self.made.insert(id, made);
            match peer {
                Some(peer) => self.made.insert(peer, other_made),
                None => self.other_ends.insert(id, other_made),
            };
        }
        Ok(())
    }

    /// Makes both ends of a connection.
    fn connect(&self, one: End<'_>, other: End<'_>, within: Within<'_>) -> Result<(OwnedFd, OwnedFd), Problem> {
        let record = one.own.or(other.own).map(|(_, record)| record).ok_or_else(|| lie("a connection without ends"))?;
        if record.kind != libc::SOCK_DGRAM {
            if one.is_accepted() {
                let (client, server) = self.by_listener(record, other, one, within)?;
                return Ok((server, client));
            }
            if other.is_accepted() {
                return self.by_listener(record, one, other, within);
            }
        }
        Self::pair(record, one, other, within)
    }

    /// Makes both ends of a connection that needs no listening socket.
    fn pair(record: &Record, one: End<'_>, other: End<'_>, within: Within<'_>) -> Result<(OwnedFd, OwnedFd), Problem> {
        within.run_at(one, other, || {
            let pair = as_made_by(one.peer.or(other.peer), &|| socket::unix_pair(record.kind));
            let pair = socket::taken_over(pair.map_err(failed(record, phrase!("be made again")))?);
            one.bind(&pair.0, record)?;
            other.bind(&pair.1, record)?;
            Ok(pair)
        })
    }

    /// Connects a client to a listening socket that has the server's name, and accepts it.
    fn by_listener(
        &self,
        record: &Record,
        client: End<'_>,
        server: End<'_>,
        within: Within<'_>,
    ) -> Result<(OwnedFd, OwnedFd), Problem> {
        let name = server.name.ok_or_else(|| lie("a connection to nowhere"))?;
        let network = server.own.or(client.own).and_then(|(id, _)| within.network(id));
        let listens = |id: FileId, other: &Record| {
            matches!(other.state, State::Listening { .. })
                && other.kind == record.kind
                && other.name.as_ref() == Some(name)
                // The same abstract name can be there in each network.
                && within.network(id) == network
        };
        let living = self.records.iter().find(|(id, other)| listens(**id, other));
        let passing;
        let listener = if let Some(listener) = living.and_then(|(id, _)| self.made.get(id)) {
            listener
        } else {
            let bound = within.run_at(server, client, || {
                let made = socket::unix(record.kind).map_err(failed(record, phrase!("be made again")))?;
                match name.bind(&made) {
                    // The service of a connection that has ended lives on: nobody will ask for its name at this end.
                    Err(Errno::EADDRINUSE) if server.own.is_none() => Ok(None),
                    bound => bound.map(|()| Some(made)).map_err(failed(record, phrase!("have its name again"))),
                }
            })?;
            let Some(made) = bound else { return Self::pair(record, client, server, within) };
            passing = made;
            &passing
        };
        // The client sees whoever listened then.
        listen(listener, 1, client.peer).map_err(failed(record, phrase!("be connected again")))?;
        let made = within.run_at(client, server, || {
            let made = socket::unix(record.kind).map_err(failed(record, phrase!("be made again")))?;
            client.bind(&made, record)?;
            let (address, _reachable) =
                address_of(listener, name).map_err(failed(record, phrase!("be reached again")))?;
            as_made_by(server.peer, &|| socket::connect(&made, &address).map(|()| [0; 2]))
                .map_err(failed(record, phrase!("be connected again")))?;
            Ok(made)
        })?;
        let accepted = socket::accept(listener).map_err(failed(record, phrase!("be accepted again")))?;
        Ok((made, accepted))
    }
}

fn end(id: FileId, record: &Record) -> End<'_> {
    End { name: record.name.as_ref(), bound: record.bound, own: Some((id, record)), peer: record.peer.as_ref() }
}

impl End<'_> {
    /// Whether it has its name from the socket that accepted it.
    fn is_accepted(&self) -> bool {
        self.name.is_some() && !self.bound
    }

    fn bind(&self, made: &OwnedFd, record: &Record) -> Result<(), Problem> {
        match (self.own, self.name) {
            (Some((_, own)), _) => bind(own, made),
            (None, Some(name)) if self.bound => name.bind(made).map_err(failed(record, phrase!("have its name again"))),
            _ => Ok(()),
        }
    }
}

/// Binds a socket to its name, with its file where it has one.
fn bind(record: &Record, made: &OwnedFd) -> Result<(), Problem> {
    let Some(name) = record.name.as_ref().filter(|_| record.bound) else { return Ok(()) };
    let bound = match &record.file {
        Some(file) => file.bind(name, made),
        None => name.bind(made),
    };
    bound.map_err(failed(record, phrase!("have its name again")))
}

/// Whether a record fits to the others.
fn check(id: FileId, record: &Record, all: &BTreeMap<FileId, Record>, files: usize) -> Result<(), Problem> {
    let of = |other: &FileId| all.get(other).filter(|other| other.kind == record.kind);
    let stream = record.kind != libc::SOCK_DGRAM;
    let fits = match &record.state {
        State::Idle => true,
        State::Gone { .. } => true,
        State::Listening { waiting, .. } => {
            let waits = |client: &FileId| of(client).is_some_and(|client| client.state == State::Waiting(id));
            let mut once = waiting.clone();
            once.sort();
            once.dedup();
            stream && record.name.is_some() && once.len() == waiting.len() && waiting.iter().all(waits)
        }
        State::Waiting(listener) => of(listener).is_some_and(
            |listener| matches!(&listener.state, State::Listening { waiting, .. } if waiting.contains(&id)),
        ),
        State::Connected(peer) => of(peer).is_some_and(|other| !stream || other.state == State::Connected(id)),
        State::Outside(_) => !stream,
    };
    let is_there = |file: &FileId| file.0 < files;
    let known = [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET].contains(&record.kind)
        && record.options.are_known()
        && record.queue.iter().all(|message| message.files.iter().all(is_there))
        && record.peer.iter().chain([&record.holder]).all(|one| one.groups.len() <= 65_536);
    if fits && known { Ok(()) } else { Err(lie("a unix socket whose record does not fit to the others")) }
}
