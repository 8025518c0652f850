//! What goes into the sockets when all files of the group have been made: messages, with the files on their way in
//! them; then the ends that the group does not have are closed, halves shut, options set.

// zoo: no kind

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use dormouse_wire::{Pid, Problem, ProblemKind, phrase};

use super::super::{FileId, Restore};
use super::connections::{Plan, as_made_by, listen};
use super::name::{Name, address_of};
use super::queue::{From, Message};
use super::{Credentials, Record, State, at_home_of, failed, lie};
use crate::kernel::identity::{Acting, Identity};
use crate::kernel::socket::{self, UnixAddress};
use crate::kernel::{Answer, Errno, files};

/// Sockets that are there only to send from a name that the group does not have, by network and name.
type Strangers = BTreeMap<(Option<usize>, Option<Vec<u8>>), OwnedFd>;

/// Does all that remains.
pub fn complete(restore: &mut Restore<'_>) -> Result<(), Problem> {
    let records = Plan::of(restore.open_files)?.into_records();
    let mut late = Vec::new();
    for (id, record) in &records {
        let made = made(restore, *id)?;
        record.options.prepare(made).map_err(failed(record, phrase!("be made ready")))?;
        if let Some(other) = restore.other_ends.get(id) {
            record.options.prepare(other).map_err(failed(record, phrase!("be made ready")))?;
        }
        // Connected it takes messages from its peer alone; those of others came before. A change of its peer empties it.
        let strange = record.queue.iter().any(|message| message.from != From::Peer);
        match record.kind {
            libc::SOCK_DGRAM if strange && socket::peer_address(made).is_err() => late.push(*id),
            libc::SOCK_DGRAM => {
                at_home_of((restore.open_files, restore.namespaces), *id, || connect(record, *id, &records, restore))?;
            }
            _ => {}
        }
    }
    let mut strangers = Strangers::new();
    for (id, record) in &records {
        at_home_of((restore.open_files, restore.namespaces), *id, || {
            let mut deliver = |message| deliver(*id, record, message, restore, &mut strangers);
            record.queue.iter().try_for_each(&mut deliver)
        })?;
    }
    for (id, record) in &records {
        if late.contains(id) {
            at_home_of((restore.open_files, restore.namespaces), *id, || connect(record, *id, &records, restore))?;
        }
        if let State::Listening { backlog, waiting } = &record.state {
            wait(made(restore, *id)?, (record, *backlog), waiting, &records, restore)?;
        }
        close_other_end(*id, record, restore)?;
    }
    for (id, record) in &records {
        let made = made(restore, *id)?;
        record.options.restore(made).map_err(failed(record, phrase!("have its options again")))?;
        socket::shut(made, record.shutdown).or_else(unconnected).map_err(failed(record, phrase!("be shut again")))?;
        files::set_status(made, restore.open_files[id.0].flags)
            .map_err(failed(record, phrase!("have its flags again")))?;
    }
    Ok(())
}

/// Halves of a socket without a peer can be shut where it is one for datagrams only.
fn unconnected(errno: Errno) -> Answer<()> {
    if errno == Errno::ENOTCONN { Ok(()) } else { Err(errno) }
}

fn made<'a>(restore: &'a Restore<'_>, id: FileId) -> Result<&'a OwnedFd, Problem> {
    restore.made.get(&id).ok_or_else(|| lie("a unix socket that was not made"))
}

/// Connects a datagram socket to its peer, or takes the peer away that only its making has given it.
fn connect(
    record: &Record,
    id: FileId,
    records: &BTreeMap<FileId, Record>,
    restore: &Restore<'_>,
) -> Result<(), Problem> {
    let own = made(restore, id)?;
    let problem = failed(record, phrase!("be connected again"));
    match &record.state {
        State::Connected(peer) => match &records[peer].name {
            // The pair is connected already.
            None => Ok(()),
            Some(name) => {
                let (address, _reachable) = address_of(made(restore, *peer)?, name).map_err(&problem)?;
                socket::connect(own, &address).map_err(problem)
            }
        },
        State::Gone { name: Some(name), .. } => {
            let gone = socket::unix(record.kind).map_err(&problem)?;
            name.bind(&gone).map_err(&problem)?;
            let (address, _reachable) = address_of(&gone, name).map_err(&problem)?;
            socket::connect(own, &address).map_err(problem)
        }
        State::Outside(name) => {
            let holder = &record.holder;
            let identity = Identity { user: holder.user, group: holder.group, groups: holder.groups.clone() };
            let _acting = Acting::begin(&identity).map_err(&problem)?;
            // Where nobody is there any more it stays without a peer, as the preflight has said.
            let _ = name.address().and_then(|address| socket::connect(own, &address));
            Ok(())
        }
        State::Idle if socket::peer_address(own).is_ok() => socket::disconnect(own).map_err(problem),
        _ => Ok(()),
    }
}

/// Sends a message again.
fn deliver(
    id: FileId,
    record: &Record,
    message: &Message,
    restore: &Restore<'_>,
    strangers: &mut Strangers,
) -> Result<(), Problem> {
    let receiver = made(restore, id)?;
    let network = restore.open_files.get(id.0).and_then(|file| file.network);
    let problem = failed(record, phrase!("be filled again"));
    let passed: Vec<RawFd> = message
        .files
        .iter()
        .map(|file| {
            restore.made.get(file).map(AsRawFd::as_raw_fd).ok_or_else(|| lie("a file on its way that was not made"))
        })
        .collect::<Result<_, _>>()?;
    let sender = match (&message.from, &record.state) {
        (From::Peer, State::Connected(peer)) => made(restore, *peer)?,
        (From::Peer, State::Gone { .. }) if restore.other_ends.contains_key(&id) => &restore.other_ends[&id],
        (From::Peer, State::Gone { name, .. }) => {
            stranger(strangers, network, name.as_ref(), record.kind).map_err(&problem)?
        }
        (From::Socket(sender), _) => made(restore, *sender)?,
        (From::Name(name), _) => stranger(strangers, network, name.as_ref(), record.kind).map_err(&problem)?,
        (From::Peer, _) => return Err(lie("a message from nobody")),
    };
    let reach = record.name.as_ref().filter(|_| record.kind == libc::SOCK_DGRAM);
    let reach = reach.map(|name| address_of(receiver, name)).transpose().map_err(&problem)?;
    send(message, sender, &passed, reach.as_ref().map(|(address, _)| address)).map_err(|errno| match errno {
        Errno::EAGAIN => {
            let what = phrase!("a unix socket takes less than it held");
            let way_out = phrase!("Raise the limit /proc/sys/net/unix/max_dgram_qlen to what it was, then thaw again");
            Problem::blocks(ProblemKind::UnixSocket, what).way_out(way_out)
        }
        errno => problem(errno),
    })
}

fn send(message: &Message, sender: &OwnedFd, passed: &[RawFd], to: Option<&UnixAddress>) -> Answer<()> {
    let send = || {
        let sent = socket::send(sender, &message.bytes, passed, message.credentials, to)?;
        if sent == message.bytes.len() { Ok([0; 2]) } else { Err(Errno::EAGAIN) }
    };
    let maker =
        message.credentials.map(|(pid, user, group)| Credentials { pid: Pid(pid), user, group, groups: Vec::new() });
    as_made_by(maker.as_ref(), &send).map(drop)
}

/// A socket of this name that the group does not have.
fn stranger<'a>(
    strangers: &'a mut Strangers,
    network: Option<usize>,
    name: Option<&Name>,
    kind: i32,
) -> Answer<&'a OwnedFd> {
    let key = (network, name.map(|name| name.shown().into_bytes()));
    if !strangers.contains_key(&key) {
        let made = socket::unix(kind)?;
        if let Some(name) = name {
            name.bind(&made)?;
        }
        strangers.insert(key.clone(), made);
    }
    strangers.get(&key).ok_or(Errno::ENOENT)
}

/// Connects those who waited to be accepted, in their order.
fn wait(
    listener: &OwnedFd,
    (record, backlog): (&Record, u32),
    waiting: &[FileId],
    records: &BTreeMap<FileId, Record>,
    restore: &Restore<'_>,
) -> Result<(), Problem> {
    let problem = failed(record, phrase!("be connected to again"));
    let name = record.name.as_ref().ok_or_else(|| lie("a listening socket without a name"))?;
    let (address, _reachable) = address_of(listener, name).map_err(&problem)?;
    for client in waiting {
        let (own, client) = (made(restore, *client)?, &records[client]);
        listen(listener, backlog, client.peer.as_ref()).map_err(&problem)?;
        as_made_by(Some(&client.holder), &|| socket::connect(own, &address).map(|()| [0; 2])).map_err(&problem)?;
    }
    // Whoever comes from now on sees this one.
    listen(listener, backlog, record.peer.as_ref()).map_err(problem)
}

/// Closes an end that nobody has. If something waited in it then, the one that is left was told so.
fn close_other_end(id: FileId, record: &Record, restore: &mut Restore<'_>) -> Result<(), Problem> {
    let Some(other) = restore.other_ends.remove(&id) else { return Ok(()) };
    if let State::Gone { reset: true, .. } = record.state {
        let sent = socket::send(made(restore, id)?, b"-", &[], None, None);
        sent.map_err(failed(record, phrase!("have its error again")))?;
    }
    drop(other);
    Ok(())
}
