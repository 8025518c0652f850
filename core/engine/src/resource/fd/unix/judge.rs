//! What stands in the way of freezing a unix socket: above all connections that lead out of the group.

// zoo: no kind

use dormouse_wire::{Problem, ProblemKind, Severity, ThingKind};

use super::super::{FileFacts, FileId, FilesFacts, kind_of, socket_filter, subject};
use super::facts::{self, Link, Sockets, Waiting};
use super::name::{self, Name};
use super::options::{Options, STAMPS};
use super::queue::From;
use super::{Credentials, services};
use crate::kernel::identity::{Acting, Identity};
use crate::kernel::{Errno, socket};

const KIND: ProblemKind = ProblemKind::UnixSocket;
const TOGETHER: &str = "Freeze them together, or end that process first";
const CLIENTS: &str = "Freeze them together, cut the connection (--disconnect), or end that process first";
const SERVICE: &str = "the connection; the program finds it closed";
const CLIENT: &str = "the connection; both programs find it closed";
const LATER: &str = "Try again in a moment, when the program has taken it";

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
    let subject = subject(files.held_outside(&facts.stat), "holds it too and is not", "hold it too and are not");
    let problem = |subject: String| facts.problem(KIND, format!("{subject} part of the group")).way_out(TOGETHER);
    subject.map(problem).into_iter().collect()
}

/// Who holds a socket outside the group, for a person.
fn holder(inode: u32, files: &FilesFacts) -> String {
    match files.sockets.holders(inode, files).first() {
        Some(holder) => holder.process.to_string(),
        None => "a process that cannot be seen".to_owned(),
    }
}

fn link(facts: &FileFacts, kind: i32, files: &FilesFacts) -> Vec<Problem> {
    let sockets = &files.sockets;
    let own = Sockets::name(facts);
    let problem = |what: String, way_out: &str| vec![facts.problem(KIND, what).way_out(way_out)];
    let other_end = |peer| {
        problem(format!("{} has the other end of it and is not part of the group", holder(peer, files)), TOGETHER)
    };
    match sockets.link(facts) {
        Link::Nothing | Link::Inside(_) | Link::Gone => Vec::new(),
        Link::Unknown => problem(
            "what it is connected to cannot be told: it is of another network namespace".into(),
            "Pause the group instead",
        ),
        Link::Listens => listening(facts, files),
        Link::WaitsAt(_) => {
            let unread = socket::unreceived(&facts.file).unwrap_or(1) > 0;
            let what = "it has sent something to a program that has not accepted the connection yet, which cannot be read before";
            if unread {
                problem(what.into(), "Try again in a moment, when the connection has been accepted")
            } else {
                Vec::new()
            }
        }
        Link::WaitsOutside(listener) => to_service(facts, listener, "it waits to be connected to", files),
        Link::Outside(peer) if sockets.is_pair(facts, peer) => other_end(peer),
        Link::Outside(peer) => match (outside_name(peer, files), own) {
            (Some(name), _) if kind == libc::SOCK_DGRAM => datagrams(facts, peer, &name, files),
            (_, Some(name)) if !sockets.is_bound(facts, &name, Link::Outside(peer)) => {
                let what = format!(
                    "{} is connected to it at {} and is not part of the group",
                    holder(peer, files),
                    name.shown()
                );
                vec![cut_or_not(facts.problem(KIND, what), &name, CLIENT, CLIENTS, files)]
            }
            (Some(_), _) => to_service(facts, peer, "it is connected to", files),
            (None, _) => other_end(peer),
        },
    }
}

fn outside_name(inode: u32, files: &FilesFacts) -> Option<Name> {
    files.sockets.by_inode(inode)?.name.as_deref().and_then(Name::of)
}

fn to_service(facts: &FileFacts, inode: u32, how: &str, files: &FilesFacts) -> Vec<Problem> {
    let holder = holder(inode, files);
    let Some(name) = outside_name(inode, files) else {
        return vec![facts.problem(KIND, format!("{how} {holder}, which is not part of the group")).way_out(TOGETHER)];
    };
    let service = services::service(&name);
    let what = format!("{how} {}, {holder}, at {}", service.what, name.shown());
    let problem = facts.problem(KIND, what);
    vec![if kind_can_be_cut(facts, service) {
        cut_or_not(problem, &name, SERVICE, service.way_out, files)
    } else {
        problem.way_out(service.way_out)
    }]
}

/// Whether the connection could be cut: programs end when their display does, and datagrams know no end.
fn kind_can_be_cut(facts: &FileFacts, service: services::Service) -> bool {
    facts::kind(facts) != libc::SOCK_DGRAM && !matches!(service.kind, ThingKind::X11 | ThingKind::Wayland)
}

/// A connection that stands in the way unless it is to be cut.
fn cut_or_not(problem: Problem, name: &Name, loss: &str, way_out: &str, files: &FilesFacts) -> Problem {
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
    if !answers && absolute { Vec::new() } else { to_service(facts, peer, "it is connected to", files) }
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
            let what = "a connection waits to be accepted by it whose other end is closed already";
            Some(facts.problem(KIND, what).way_out(LATER))
        }
        client if files.sockets.own(client).is_none() => {
            let what = format!("{} waits to be accepted by it and is not part of the group", holder(client, files));
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
    let mut later = |what: &str| problems.push(facts.problem(KIND, what).way_out(LATER));
    let link = sockets.link(facts);
    if facts::has_error(&facts.file) && !(kind == libc::SOCK_STREAM && link == Link::Gone) {
        later("an error waits in it to be read");
    }
    if kind == libc::SOCK_STREAM && link != Link::Listens && socket::has_urgent(&facts.file) {
        later("urgent data (MSG_OOB) waits in it, whose place cannot be kept yet");
    }
    match sockets.queues.get(&facts.id) {
        Some(Err(Errno::EOPNOTSUPP)) => later("a message waits in it with something that is not known here"),
        Some(Err(errno)) => later(&format!("what waits in it cannot be looked at: {}", errno.desc())),
        Some(Ok(queue)) => {
            let stranger = |message: &&Waiting| kind == libc::SOCK_DGRAM && !can_be_sent(facts, message, link, files);
            if let Some(message) = queue.iter().find(stranger) {
                let from = message.from.as_ref().map_or("a socket without a name".to_owned(), Name::shown);
                later(&format!("a datagram waits in it from {from}, which cannot be sent again from there"));
            }
            let stamped = kind != libc::SOCK_STREAM && !queue.is_empty();
            if stamped && Options::capture(&facts.file, kind).is_ok_and(|options| options.any(&STAMPS)) {
                let what = "messages wait in it with the time they came";
                problems.push(facts.loss(KIND, what, "these times: the thaw sends the messages again"));
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
        let what =
            format!("{} is on its way in it: it is a handle on a process, which cannot be kept there", file.shown());
        facts.problem(KIND, what).way_out(LATER)
    });
    let mut problems: Vec<Problem> = late.collect();
    let alone = ids.iter().map(|id| &files.files[id.0]).filter(|file| file.holders.is_empty());
    for file in alone {
        if file.info.locks().next().is_some() {
            problems.push(file.problem(ProblemKind::Lock, "it has a lock").way_out(LATER));
        }
        let told = crate::kernel::files::notify(&file.file);
        if told.is_ok_and(|told| told.is_some()) {
            problems.push(file.problem(ProblemKind::Signal, "it tells somebody of I/O").way_out(LATER));
        }
    }
    problems
}
