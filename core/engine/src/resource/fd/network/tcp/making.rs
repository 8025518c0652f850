//! Making the TCP sockets of a group, and what is in the way of that: connections first, then those that listen, then
//! those that wait there or ask elsewhere.

// zoo: no kind

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};

use super::super::address::Address;
use super::super::taken;
use super::pair::{self, End};
use super::{Record, State, Stream, kept, lie, records};
use crate::kernel::{Answer, Errno, anonymous, files, inet, repair, socket};
use crate::resource::fd::{FileId, Restore};

/// Whether this machine has an address.
pub fn is_here(address: &Address) -> bool {
    let family = if address.ip.len() == 4 { libc::AF_INET } else { libc::AF_INET6 };
    let bound = inet::open(family, libc::SOCK_STREAM, libc::IPPROTO_TCP)
        .and_then(|socket| inet::bind(&socket, &address.with_port(0).bytes()?));
    bound.is_ok()
}

/// What is in the way of one socket.
pub fn preflight(record: &Record) -> Vec<Problem> {
    let Some(own) = check(record).err().map_or(Some(record.own.as_ref()), |_| None) else {
        return vec![lie("an impossible TCP socket")];
    };
    match &record.state {
        State::Idle | State::Listening { .. } => own.and_then(|own| taken_from(record, own)).into_iter().collect(),
        State::Asks(_) => Vec::new(),
        _ => {
            let able = inet::open(record.family, libc::SOCK_STREAM, libc::IPPROTO_TCP)
                .and_then(|socket| repair::begin(&socket));
            if able.is_err() {
                let what = phrase!("a TCP connection cannot be made again without CAP_NET_ADMIN");
                return vec![Problem::blocks(ProblemKind::Privilege, what).way_out(phrase!("Thaw it as root"))];
            }
            if let (State::Kept { to, .. }, Some(own)) = (&record.state, own) {
                return cut_off(own, to).into_iter().collect();
            }
            let kept = matches!(record.state, State::Connected { .. } | State::Gone { .. });
            own.filter(|own| kept && !is_here(own)).map(not_here).into_iter().collect()
        }
    }
}

fn not_here(own: &Address) -> Problem {
    let what = phrase!("this machine does not have the address of a TCP connection any more");
    let loss = phrase!("the connection: the programs at both ends find it reset");
    Problem::loses(ProblemKind::Socket, what, loss).at(own.shown())
}

/// Why a connection to outside cannot go on here.
fn cut_off(own: &Address, to: &Address) -> Option<Problem> {
    const WAY_OUT: Phrase =
        phrase!("Join the network that it comes from, or thaw it with its connections reset (--reset-connections)");
    let what = if !is_here(own) {
        phrase!("this machine does not have the address of a TCP connection to {to} any more", to = to.shown())
    } else if !kept::is_reached(own, to) {
        phrase!("there is no way from here to {to}, the other end of a TCP connection", to = to.shown())
    } else {
        return None;
    };
    Some(Problem::blocks(ProblemKind::Socket, what).at(own.shown()).way_out(WAY_OUT))
}

/// Why an address cannot be had.
fn taken_from(record: &Record, own: &Address) -> Option<Problem> {
    let bound = pair::open(record).and_then(|socket| inet::bind(&socket, &own.bytes()?));
    let name = if matches!(record.state, State::Idle) {
        phrase!("a TCP socket")
    } else {
        phrase!("a TCP socket that listens")
    };
    Some(taken::problem(name, "tcp", own, record.options.device(), bound.err()?))
}

/// Whether a record is possible by itself: the image is untrusted.
fn check(record: &Record) -> Result<(), Problem> {
    let plain = matches!(record.state, State::Idle | State::Listening { .. });
    let known = matches!(record.family, libc::AF_INET | libc::AF_INET6)
        && (record.protocol == libc::IPPROTO_TCP || record.protocol == libc::IPPROTO_MPTCP && plain);
    let to = match &record.state {
        State::Asks(to) | State::Waits { to, .. } | State::Gone { to, .. } | State::Kept { to, .. } => Some(to),
        _ => None,
    };
    let fits = record.own.iter().chain(to).all(|address| address.fits(record.family));
    let has_own = record.own.is_some() || matches!(record.state, State::Idle | State::Asks(_) | State::Ended { .. });
    let possible = if let State::Kept { flow, .. } = &record.state { flow.is_possible() } else { true };
    if known && fits && has_own && possible { Ok(()) } else { Err(lie("an impossible TCP socket")) }
}

/// The records, and what has been made of them.
struct Plan {
    records: BTreeMap<FileId, Record>,
    made: BTreeMap<FileId, OwnedFd>,
}

/// Makes all TCP sockets of the image.
pub fn make_all(restore: &mut Restore<'_>) -> Result<(), Problem> {
    let mut plan = Plan { records: records(restore.open_files)?.into_iter().collect(), made: BTreeMap::new() };
    plan.records.values().try_for_each(check)?;
    plan.connections()?;
    plan.bound()?;
    plan.waiting()?;
    plan.asking()?;
    for (id, record) in &plan.records {
        let made = plan.made.get(id).ok_or_else(|| lie("a TCP socket that nobody asks for"))?;
        finish(record, made, restore.open_files[id.0].flags)
            .map_err(failed(record, phrase!("have its options again")))?;
    }
    restore.made.append(&mut plan.made);
    Ok(())
}

/// A step of making a socket that has failed.
fn failed(record: &Record, what: Phrase) -> impl Fn(Errno) -> Problem {
    move |errno| {
        let told = phrase!("a TCP socket cannot {what}: {why}", what, why = errno.desc());
        let mut problem = Problem::blocks(ProblemKind::Socket, told);
        if errno == Errno::EADDRNOTAVAIL {
            problem = problem.way_out(phrase!(
                "A connection that has ended a moment ago may still have the address: thaw again in a minute"
            ));
        }
        match &record.own {
            Some(own) => problem.at(own.shown()),
            None => problem,
        }
    }
}

/// Options, halves that are shut, flags.
fn finish(record: &Record, made: &OwnedFd, flags: i32) -> Answer<()> {
    record.options.restore(made, record.inode.user == 0)?;
    if matches!(record.state, State::Kept { .. }) {
        return files::set_status(made, flags);
    }
    record.options.restore_reuse(made)?;
    let shutdown = match &record.state {
        State::Connected { stream, .. } | State::Gone { stream, .. } => stream.shutdown,
        State::Waits { shutdown, .. } => *shutdown,
        _ => 0,
    };
    match socket::shut(made, shutdown) {
        // The other end has finished meanwhile.
        Ok(()) | Err(Errno::ENOTCONN) => files::set_status(made, flags),
        Err(errno) => Err(errno),
    }
}

impl Plan {
    fn connections(&mut self) -> Result<(), Problem> {
        for (id, record) in &self.records {
            if self.made.contains_key(id) {
                continue;
            }
            let problem = failed(record, phrase!("be connected again"));
            let own = || record.own.clone().ok_or_else(|| lie("a connection without an address"));
            match &record.state {
                State::Connected { peer, stream } => {
                    let (other, other_stream) = self.other_end(*id, *peer)?;
                    let theirs = other.own.clone().ok_or_else(|| lie("a connection without an address"))?;
                    let ends = (own()?, theirs);
                    let (one, two) =
                        connect((record, ends.0, stream), (other, ends.1, other_stream)).map_err(problem)?;
                    self.made.extend([(*id, one), (*peer, two)]);
                }
                State::Gone { to, stream } => {
                    let nobody = Stream { segment: stream.segment, ..stream.plain() };
                    let made = connect((record, own()?, stream), (record, to.clone(), &nobody));
                    let (made, other) = made.map_err(problem)?;
                    drop(other);
                    self.made.insert(*id, made);
                }
                State::Kept { to, flow } => {
                    self.made.insert(*id, kept::make(record, &own()?, to, flow).map_err(problem)?);
                }
                State::Ended { received, news } => {
                    let stream = Stream { received: received.clone(), ..Stream::default() };
                    self.made.insert(*id, ended(record, &stream, *news).map_err(problem)?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The record of the other end, which must say the same.
    fn other_end(&self, id: FileId, peer: FileId) -> Result<(&Record, &Stream), Problem> {
        match self.records.get(&peer) {
            Some(record) if peer != id => match &record.state {
                State::Connected { peer: back, stream } if *back == id => Ok((record, stream)),
                _ => Err(lie("a connection with one end")),
            },
            _ => Err(lie("a connection with one end")),
        }
    }

    /// Sockets that have an address and no peer.
    fn bound(&mut self) -> Result<(), Problem> {
        for (id, record) in &self.records {
            if !matches!(record.state, State::Idle | State::Listening { .. }) {
                continue;
            }
            let made = pair::open(record).map_err(failed(record, phrase!("be made again")))?;
            if let Some(own) = &record.own {
                let bound = own.bytes().and_then(|bytes| inet::bind(&made, &bytes));
                bound.map_err(failed(record, phrase!("be bound again")))?;
            }
            if let State::Listening { backlog, .. } = record.state {
                let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
                socket::listen(&made, backlog).map_err(failed(record, phrase!("listen again")))?;
            }
            self.made.insert(*id, made);
        }
        Ok(())
    }

    /// Those who wait to be accepted, in their order.
    fn waiting(&mut self) -> Result<(), Problem> {
        let order = self.records.values().filter_map(|record| match &record.state {
            State::Listening { waiting, .. } => Some(waiting),
            _ => None,
        });
        for id in order.flatten() {
            let Some(record) = self.records.get(id).filter(|_| !self.made.contains_key(id)) else {
                return Err(lie("a TCP socket that waits and is not there"));
            };
            let State::Waits { to, .. } = &record.state else { return Err(lie("a TCP socket that does not wait")) };
            let made = ask(record, to).and_then(|made| answered(&made).map(|()| made));
            self.made.insert(*id, made.map_err(failed(record, phrase!("be connected again")))?);
        }
        Ok(())
    }

    fn asking(&mut self) -> Result<(), Problem> {
        for (id, record) in &self.records {
            let State::Asks(to) = &record.state else { continue };
            // Where there is no way any more, the program finds that the connection has failed.
            let made = ask(record, to).or_else(|_| ended(record, &Stream::default(), true));
            self.made.insert(*id, made.map_err(failed(record, phrase!("be connected again")))?);
        }
        Ok(())
    }
}

/// Both ends of a connection, each with its address and what is in it.
fn connect(
    (one, own, stream): (&Record, Address, &Stream),
    (other, theirs, other_stream): (&Record, Address, &Stream),
) -> Answer<(OwnedFd, OwnedFd)> {
    if !is_here(&own) || !is_here(&theirs) {
        let ended =
            |record, stream: &Stream| ended(record, &Stream { coming: Vec::new().into(), ..stream.clone() }, true);
        return Ok((ended(one, stream)?, ended(other, other_stream)?));
    }
    let end = Instant::now() + REST;
    let (one, other) = loop {
        let mut one = End { socket: pair::open(one)?, own: own.clone(), stream };
        let mut other = End { socket: pair::open(other)?, own: theirs.clone(), stream: other_stream };
        match pair::join(&mut one, &mut other) {
            Ok(()) => break (one.socket, other.socket),
            // What has become of this connection since an earlier thaw may rest for a moment yet.
            Err(Errno::EADDRNOTAVAIL) if Instant::now() < end => {
                abandon(&one.socket);
                abandon(&other.socket);
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(errno) => {
                abandon(&one.socket);
                abandon(&other.socket);
                return Err(errno);
            }
        }
    };
    pair::send_rest(&one, &other_stream.coming)?;
    pair::send_rest(&other, &stream.coming)?;
    Ok((one, other))
}

/// So long the addresses of a connection on this machine cannot be used again, sysctl tcp_tw_reuse_delay.
const REST: Duration = Duration::from_millis(1500);

/// Lets an end vanish without a packet: it is in the mode for that already, or does not exist for anybody.
fn abandon(end: &OwnedFd) {
    let _ = repair::begin(end);
}

/// A socket that was connected, with what it had received. Its other end is ours, and closed at once; `news`: so that the
/// program is told.
fn ended(record: &Record, stream: &Stream, news: bool) -> Answer<OwnedFd> {
    let nowhere =
        Address { ip: vec![0; if record.family == libc::AF_INET { 4 } else { 16 }].into(), port: 0, interface: None };
    let own = record.own.as_ref().unwrap_or(&nowhere).with_port(0);
    let own = if own.is_any() || !is_here(&own) { own.loopback() } else { own };
    let nobody = Stream::default().plain();
    let stream = Stream { received: stream.received.clone(), ..Stream::default().plain() };
    let mut one = End { socket: pair::open(record)?, own: own.clone(), stream: &stream };
    let mut other = End { socket: pair::open(record)?, own, stream: &nobody };
    pair::join(&mut one, &mut other)?;
    super::reset_when_closed(&other.socket)?;
    drop(other);
    if !news {
        socket::option(&one.socket, libc::SO_ERROR)?;
    }
    Ok(one.socket)
}

/// A socket that asks to be connected there.
fn ask(record: &Record, to: &Address) -> Answer<OwnedFd> {
    let made = pair::open(record)?;
    if let Some(own) = &record.own {
        pair::bind_beside(&made, own)?;
    }
    match inet::connect(&made, &to.bytes()?) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(made),
        Err(errno) => Err(errno),
    }
}

/// Waits until it is connected.
fn answered(made: &OwnedFd) -> Answer<()> {
    let end = Instant::now() + Duration::from_secs(5);
    while anonymous::poll(made, libc::POLLOUT)? & libc::POLLOUT == 0 {
        if Instant::now() > end {
            return Err(Errno::ETIMEDOUT);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    match socket::option(made, libc::SO_ERROR)? {
        0 => Ok(()),
        errno => Err(Errno::from_raw(errno)),
    }
}
