//! What stands in the way of freezing a unix socket: above all connections that lead out of the group.

// zoo: no kind

use dormouse_wire::{Phrase, Problem, ProblemKind, Severity, ThingKind, phrase};

use super::super::{FileFacts, FileId, FilesFacts, kind_of, socket_filter, subject};
use super::facts::{self, Link, Sockets, Waiting};
use super::name::{self, Name};
use super::options::{Options, STAMPS};
use super::queue::From;
use super::{Credentials, services};
use crate::kernel::identity::{Acting, Identity};
use crate::kernel::{Errno, socket};

const KIND: ProblemKind = ProblemKind::UnixSocket;
const TOGETHER: Phrase = phrase!("Freeze them together, or end that process first");
const CLIENTS: Phrase = phrase!("Freeze them together, cut the connection (--disconnect), or end that process first");
const SERVICE: Phrase = phrase!("the connection; the program finds it closed");
const CLIENT: Phrase = phrase!("the connection; both programs find it closed");
const LATER: Phrase = phrase!("Try again in a moment, when the program has taken it");

/// All reasons.
pub fn judge(facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
    let kind = facts::kind(facts);
    let mut problems = link(facts, kind, files);
    problems.extend(shared(facts, files));
    problems.extend(waiting(facts, kind, files));
    problems.extend(on_their_way(facts, files));
    problems.extend(socket_filter::judge(KIND, facts));
    problems
}

/// Another process that holds the same socket.
fn shared(facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
    let what = subject(
        files.held_outside(&facts.stat),
        |who| phrase!("{who} holds it too and is not part of the group", who),
        |who| phrase!("{who} hold it too and are not part of the group", who),
    );
    what.map(|what| facts.problem(KIND, what).way_out(TOGETHER)).into_iter().collect()
}

/// Who holds a socket outside the group, for a person.
fn holder(inode: u32, files: &FilesFacts) -> Phrase {
    match files.sockets.holders(inode, files).first() {
        Some(holder) => Phrase::verbatim(holder.process.to_string()),
        None => phrase!("a process that cannot be seen"),
    }
}

fn link(facts: &FileFacts, kind: i32, files: &FilesFacts) -> Vec<Problem> {
    let sockets = &files.sockets;
    let own = Sockets::name(facts);
    let problem = |what: Phrase, way_out: Phrase| vec![facts.problem(KIND, what).way_out(way_out)];
    let other_end = |peer| {
        problem(
            phrase!("{holder} has the other end of it and is not part of the group", holder = holder(peer, files)),
            TOGETHER,
        )
    };
    match sockets.link(facts) {
        Link::Nothing | Link::Inside(_) | Link::Gone => Vec::new(),
        Link::Unknown => problem(
            phrase!("what it is connected to cannot be told: it is of another network namespace"),
            phrase!("Pause the group instead"),
        ),
        Link::Listens => listening(facts, files),
        Link::WaitsAt(_) => {
            let unread = socket::unreceived(&facts.file).unwrap_or(1) > 0;
            let what = phrase!(
                "it has sent something to a program that has not accepted the connection yet, which cannot be read before"
            );
            if unread {
                problem(what, phrase!("Try again in a moment, when the connection has been accepted"))
            } else {
                Vec::new()
            }
        }
        Link::WaitsOutside(listener) => to_service(facts, listener, true, files),
        Link::Outside(peer) if sockets.is_pair(facts, peer) => other_end(peer),
        Link::Outside(peer) => match (outside_name(peer, files), own) {
            (Some(name), _) if kind == libc::SOCK_DGRAM => datagrams(facts, peer, &name, files),
            (_, Some(name)) if !sockets.is_bound(facts, &name, Link::Outside(peer)) => {
                let what = phrase!(
                    "{holder} is connected to it at {name} and is not part of the group",
                    holder = holder(peer, files),
                    name = name.shown()
                );
                vec![cut_or_not(facts.problem(KIND, what), &name, CLIENT, CLIENTS, files)]
            }
            (Some(_), _) => to_service(facts, peer, false, files),
            (None, _) => other_end(peer),
        },
    }
}

fn outside_name(inode: u32, files: &FilesFacts) -> Option<Name> {
    files.sockets.by_inode(inode)?.name.as_deref().and_then(Name::of)
}

/// A connection to a service outside, or the wish for one: `waits`.
fn to_service(facts: &FileFacts, inode: u32, waits: bool, files: &FilesFacts) -> Vec<Problem> {
    let holder = holder(inode, files);
    let Some(name) = outside_name(inode, files) else {
        let what = if waits {
            phrase!("it waits to be connected to {holder}, which is not part of the group", holder)
        } else {
            phrase!("it is connected to {holder}, which is not part of the group", holder)
        };
        return vec![facts.problem(KIND, what).way_out(TOGETHER)];
    };
    let service = services::service(&name);
    let (service_name, at) = (&service.what, name.shown());
    let what = if waits {
        phrase!("it waits to be connected to {service}, {holder}, at {name}", service = service_name, holder, name = at)
    } else {
        phrase!("it is connected to {service}, {holder}, at {name}", service = service_name, holder, name = at)
    };
    let problem = facts.problem(KIND, what);
    vec![if kind_can_be_cut(facts, &service) {
        cut_or_not(problem, &name, SERVICE, service.way_out, files)
    } else {
        problem.way_out(service.way_out)
    }]
}

/// Whether the connection could be cut: programs end when their display does, and datagrams know no end.
fn kind_can_be_cut(facts: &FileFacts, service: &services::Service) -> bool {
    facts::kind(facts) != libc::SOCK_DGRAM && !matches!(service.kind, ThingKind::X11 | ThingKind::Wayland)
}

/// A connection that stands in the way unless it is to be cut.
fn cut_or_not(problem: Problem, name: &Name, loss: Phrase, way_out: Phrase, files: &FilesFacts) -> Problem {
    let boundary = name.shown();
    let cut = files.disconnect.cuts(&boundary);
    let problem = problem.cut_at(boundary, loss);
    if cut { problem.once_cut() } else { problem.way_out(way_out) }
}

/// Whether the connection of this socket, which leads out of the group, is to be cut.
pub fn is_cut(facts: &FileFacts, files: &FilesFacts) -> bool {
    let problems = link(facts, facts::kind(facts), files);
    !problems.is_empty() && problems.iter().all(|problem| problem.severity == Severity::Loses)
}

/// Whether a client of this listening socket is to be cut.
pub fn is_client_cut(facts: &FileFacts, client: u32, files: &FilesFacts) -> bool {
    let name = Sockets::name(facts);
    client != 0 && files.sockets.own(client).is_none() && name.is_some_and(|name| files.disconnect.cuts(&name.shown()))
}

/// A datagram socket that sends to a service: it is connected again at thaw, for there is no conversation to lose.
fn datagrams(facts: &FileFacts, peer: u32, name: &Name, files: &FilesFacts) -> Vec<Problem> {
    let answers =
        files.sockets.by_inode(peer).and_then(|peer| peer.peer).is_some_and(|back| back == facts.stat.st_ino as u32);
    let absolute = !matches!(name, Name::Path(path) if !path.starts_with(b"/"));
    if !answers && absolute { Vec::new() } else { to_service(facts, peer, false, files) }
}

/// Whether a datagram socket can be connected there, with its holder's rights.
pub fn can_be_reached(name: &Name, holder: &Credentials) -> bool {
    let identity = Identity { user: holder.user, group: holder.group, groups: holder.groups.clone() };
    let reached = Acting::begin(&identity)
        .and_then(|_acting| socket::connect(&socket::unix(libc::SOCK_DGRAM)?, &name.address()?));
    reached.is_ok()
}

/// Who waits to be accepted.
fn listening(facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
    let waiting = files.sockets.entry(facts).map(|found| found.waiting.as_slice()).unwrap_or_default();
    let name = Sockets::name(facts);
    let problem = |client: &u32| match *client {
        0 => {
            let what = phrase!("a connection waits to be accepted by it whose other end is closed already");
            Some(facts.problem(KIND, what).way_out(LATER))
        }
        client if files.sockets.own(client).is_none() => {
            let what = phrase!(
                "{holder} waits to be accepted by it and is not part of the group",
                holder = holder(client, files)
            );
            let problem = facts.problem(KIND, what);
            Some(match &name {
                Some(name) => cut_or_not(problem, name, CLIENT, CLIENTS, files),
                None => problem.way_out(TOGETHER),
            })
        }
        _ => None,
    };
    waiting.iter().filter_map(problem).collect()
}

/// What waits in it.
fn waiting(facts: &FileFacts, kind: i32, files: &FilesFacts) -> Vec<Problem> {
    let sockets = &files.sockets;
    let mut problems = Vec::new();
    let mut later = |what: Phrase| problems.push(facts.problem(KIND, what).way_out(LATER));
    let link = sockets.link(facts);
    if facts::has_error(&facts.file) && !(kind == libc::SOCK_STREAM && link == Link::Gone) {
        later(phrase!("an error waits in it to be read"));
    }
    if kind == libc::SOCK_STREAM && link != Link::Listens && socket::has_urgent(&facts.file) {
        later(phrase!("urgent data (MSG_OOB) waits in it, whose place cannot be kept yet"));
    }
    match sockets.queues.get(&facts.id) {
        Some(Err(Errno::EOPNOTSUPP)) => later(phrase!("a message waits in it with something that is not known here")),
        Some(Err(errno)) => later(phrase!("what waits in it cannot be looked at: {why}", why = errno.desc())),
        Some(Ok(queue)) => {
            let stranger = |message: &&Waiting| kind == libc::SOCK_DGRAM && !can_be_sent(facts, message, link, files);
            if let Some(message) = queue.iter().find(stranger) {
                let from = message.from.as_ref().map_or(phrase!("a socket without a name"), |from| from.shown().into());
                later(phrase!("a datagram waits in it from {from}, which cannot be sent again from there", from));
            }
            let stamped = kind != libc::SOCK_STREAM && !queue.is_empty();
            if stamped && Options::capture(&facts.file, kind).is_ok_and(|options| options.any(&STAMPS)) {
                let what = phrase!("messages wait in it with the time they came");
                problems.push(facts.loss(KIND, what, phrase!("these times: the thaw sends the messages again")));
            }
        }
        None => {}
    }
    problems
}

/// Whether the thaw can send a datagram again as it was sent.
fn can_be_sent(facts: &FileFacts, message: &Waiting, link: Link, files: &FilesFacts) -> bool {
    let has_name = Sockets::name(facts).is_some();
    match super::sender(facts, message.from.as_ref(), link, files) {
        From::Peer => true,
        From::Socket(sender) => has_name || files.sockets.link(&files.files[sender.0]) == Link::Inside(facts.id),
        // The name must be free at thaw: at a path it always is, for no file is made.
        From::Name(Some(Name::Abstract(name))) => has_name && !name::is_taken(&Name::Abstract(name), libc::SOCK_DGRAM),
        From::Name(_) => has_name,
    }
}

/// Open files that are on their way in it and nowhere else: what only a process could give them back is not kept.
fn on_their_way(facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
    let queue = files.sockets.queues.get(&facts.id).and_then(|queue| queue.as_ref().ok());
    let mut ids: Vec<FileId> = queue.into_iter().flatten().flat_map(|message| message.files.clone()).collect();
    ids.sort();
    ids.dedup();
    let late = ids.iter().map(|id| &files.files[id.0]).filter(|file| kind_of(file).is_late());
    let late = late.map(|file| {
        let what = phrase!(
            "{file} is on its way in it: it is a handle on a process, which cannot be kept there",
            file = file.shown()
        );
        facts.problem(KIND, what).way_out(LATER)
    });
    let mut problems: Vec<Problem> = late.collect();
    let alone = ids.iter().map(|id| &files.files[id.0]).filter(|file| file.holders.is_empty());
    for file in alone {
        if file.info.locks().next().is_some() {
            problems.push(file.problem(ProblemKind::Lock, phrase!("it has a lock")).way_out(LATER));
        }
        let told = crate::kernel::files::notify(&file.file);
        if told.is_ok_and(|told| told.is_some()) {
            problems.push(file.problem(ProblemKind::Signal, phrase!("it tells somebody of I/O")).way_out(LATER));
        }
    }
    problems
}
