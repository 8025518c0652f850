//! Connections whose other end is outside the group and is kept: it is held off ([`hold`]) from before anything is looked at
//! until the thawed socket goes on, and notices no more than a silence.
//!
//! While a socket is built it stays in TCP_REPAIR mode: should the thaw fail, it vanishes without a packet.

// zoo: no kind

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::super::address::Address;
use super::super::hold::{self, Hold};
use super::facts::{self, Info, Link};
use super::pair::{self, with_room};
use super::segment::End;
use super::{Record, State, records};
use crate::kernel::nftables::Ends;
use crate::kernel::repair::{self, Agreed, Queue};
use crate::kernel::snapshot::{Snapshot, snapshots};
use crate::kernel::{Answer, Errno, files, inet, socket};
use crate::resource::fd::{FileFacts, FileId, FilesFacts, OpenFile};

/// What is in an end of a connection to outside, and how far both ends are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// What was received and waits to be read.
    received: ByteBuf,
    /// What was sent and has not been answered, or is to be sent.
    sent: ByteBuf,
    /// How many bytes at the end of that were not sent yet.
    unsent: u32,
    /// The sequence number of the first byte of what was sent.
    first_sent: u32,
    /// The sequence number behind the last byte that was received.
    next_received: u32,
    /// Which of its halves are shut: 1 receiving, 2 sending.
    shutdown: u8,
    /// The end of all that the other end sends has come.
    ended: bool,
    /// The largest segment that the other end takes, bytes.
    segment: u32,
    /// By how many bits windows are shifted, the other end's and its own; none: they are not.
    scale: Option<(u8, u8)>,
    /// Selective acknowledgement was agreed upon.
    selective: bool,
    /// Where its clock was, if time stamps were agreed upon.
    stamp: Option<u32>,
    /// `struct tcp_repair_window`: snd_wl1, snd_wnd, max_window, rcv_wnd, rcv_wup.
    windows: [u32; 5],
    /// How large its buffers had become: SO_SNDBUF, SO_RCVBUF.
    buffers: (i32, i32),
}

/// What was captured of them, each when the others were.
pub type Seen = HashMap<FileId, Answer<Flow>>;

/// Whether a connection is to be kept, and can be as it is: to whom.
pub fn keeps(facts: &FileFacts, files: &FilesFacts) -> Option<Address> {
    keepable(facts, files).filter(|_| files.keep_connections)
}

/// Whether a connection could be kept as it is: to whom.
pub fn keepable(facts: &FileFacts, files: &FilesFacts) -> Option<Address> {
    use facts::{CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, LAST_ACK};
    // One that was closed on this machine may only sleep: who is kept himself is asked then, and told by a reset if it is gone.
    let (Link::Outside(peer, _) | Link::Closing(peer) | Link::Gone(peer)) = files.connections().link(facts) else {
        return None;
    };
    let state = Info::of(&facts.file).ok()?.state;
    let able = matches!(state, ESTABLISHED | CLOSE_WAIT | CLOSING | FIN_WAIT_1 | FIN_WAIT_2 | LAST_ACK);
    // Its end, which has to be given to it anew, would not come by way of that device.
    let reached = !facts::has_heard_the_end(facts) || !is_bound_to_device(facts);
    (able && reached).then_some(peer)
}

fn is_bound_to_device(facts: &FileFacts) -> bool {
    let device = inet::option_bytes(&facts.file, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, &[], 16);
    device.is_ok_and(|name| name.iter().any(|byte| *byte != 0))
}

/// Holds off all that are to be kept; none: there are none.
pub fn hold_off(files: &FilesFacts) -> Result<Option<Hold>, Problem> {
    let tcp = files.files.iter().filter(|facts| files.keep_connections && facts::is_tcp(facts));
    let ends = tcp.filter_map(|facts| {
        let (peer, own) = (keeps(facts, files)?, Address::own(&facts.file)?);
        Some(Ends { own: own.listed(), peer: peer.listed() })
    });
    let ends: BTreeSet<Ends> = ends.collect();
    if ends.is_empty() {
        return Ok(None);
    }
    Hold::begin(ends.into_iter().collect()).map(Some).map_err(not_held)
}

/// The problem of a kernel that does not hold connections off.
pub fn not_held(errno: Errno) -> Problem {
    let way_out = phrase!("Freeze it without --keep-connections: they are then found reset after the thaw");
    let problem = |what: Phrase| Problem::blocks(ProblemKind::Socket, what).way_out(way_out);
    match errno {
        Errno::EPERM => Problem::blocks(
            ProblemKind::Privilege,
            phrase!("the other ends of connections cannot be held off without CAP_NET_ADMIN"),
        )
        .way_out(phrase!("Run Dormouse as root")),
        Errno::EPROTONOSUPPORT | Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOENT | Errno::EAFNOSUPPORT => {
            let what = phrase!(
                "connections cannot be kept here: this kernel cannot hold their other ends off until the thaw, for which it takes nf_tables (CONFIG_NF_TABLES_INET) of Linux 5.12 or later"
            );
            problem(what)
        }
        errno => problem(phrase!("the other ends of connections cannot be held off: {why}", why = errno.desc())),
    }
}

/// Looks at all that are kept, as they stand still.
pub fn look(files: &FilesFacts) -> Seen {
    let kept: Vec<&FileFacts> =
        files.files.iter().filter(|facts| facts::is_tcp(facts) && keeps(facts, files).is_some()).collect();
    const TRIES: usize = 20;
    let mut seen = Seen::new();
    for _ in 0..TRIES {
        let open: Vec<&FileFacts> =
            kept.iter().copied().filter(|facts| !matches!(seen.get(&facts.id), Some(Ok(_)))).collect();
        if open.is_empty() {
            break;
        }
        let received: Vec<Answer<ByteBuf>> = open.iter().map(|facts| super::inet_received(facts)).collect();
        let sockets: Vec<_> = open.iter().map(|facts| facts.file.as_fd()).collect();
        let shots = snapshots(&sockets).unwrap_or_else(|errno| open.iter().map(|_| Err(errno)).collect());
        for ((facts, received), shot) in open.into_iter().zip(received).zip(shots) {
            let flow = received.and_then(|received| flow(facts, received, &shot?));
            seen.insert(facts.id, flow);
        }
    }
    seen
}

/// EAGAIN: something came while it was looked at.
fn flow(facts: &FileFacts, received: ByteBuf, shot: &Snapshot) -> Answer<Flow> {
    use facts::{CLOSE_WAIT, CLOSED, CLOSING, LAST_ACK};
    if files::bytes_waiting(&facts.file)? != received.len() {
        return Err(Errno::EAGAIN);
    }
    if shot.state == CLOSED {
        return Err(Errno::ENOTCONN);
    }
    let info = Info::of(&facts.file)?;
    let shutdown = super::shut(facts, shot.state);
    let (own_end, their_end) = (u32::from(shutdown & 2 != 0), matches!(shot.state, CLOSE_WAIT | LAST_ACK | CLOSING));
    // An end that was not answered yet is the last of what was not.
    let length = shot.unanswered.saturating_sub(own_end) as usize;
    let sent = shot.bytes.len().checked_sub(length).and_then(|from| shot.bytes.get(from..)).ok_or(Errno::EAGAIN)?;
    Ok(Flow {
        first_sent: shot.sent.wrapping_sub(own_end).wrapping_sub(length as u32),
        next_received: shot.received.wrapping_sub(u32::from(their_end)),
        sent: ByteBuf::from(sent),
        unsent: shot.unsent.saturating_sub(own_end).min(length as u32),
        received,
        shutdown,
        ended: their_end,
        segment: shot.segment,
        scale: (info.options & 4 != 0).then_some(info.scale),
        selective: info.options & 2 != 0,
        stamp: (info.options & 1 != 0).then_some(shot.stamp),
        windows: shot.windows,
        buffers: (socket::option(&facts.file, libc::SO_SNDBUF)?, socket::option(&facts.file, libc::SO_RCVBUF)?),
    })
}

impl Flow {
    /// Whether it can be: the image is untrusted.
    pub fn is_possible(&self) -> bool {
        self.unsent as usize <= self.sent.len()
    }

    /// What the program could still read.
    pub fn received(&self) -> &ByteBuf {
        &self.received
    }
}

/// Makes the socket, with what it had received; it keeps still.
pub fn make(record: &Record, own: &Address, to: &Address, flow: &Flow) -> Answer<OwnedFd> {
    let made = pair::open(record)?;
    repair::begin(&made)?;
    inet::bind(&made, &own.bytes()?)?;
    repair::set_sequence(&made, Queue::Sent, flow.first_sent)?;
    let first = flow.next_received.wrapping_sub(flow.received.len() as u32);
    repair::set_sequence(&made, Queue::Received, first)?;
    inet::connect(&made, &to.of_family(record.family).bytes()?)?;
    let agreed = Agreed {
        segment: flow.segment.clamp(48, 65_535),
        scale: flow.scale.map(|(theirs, own)| (theirs.min(14), own.min(14))),
        selective: flow.selective,
        stamps: flow.stamp.is_some(),
    };
    repair::agree(&made, agreed)?;
    let fill = || repair::fill(&made, Queue::Received, &flow.received);
    with_room(&made, libc::SO_RCVBUF, flow.received.len(), fill)?;
    Ok(made)
}

/// Whether this machine still has a way to the other end.
pub fn is_reached(own: &Address, to: &Address) -> bool {
    let family = if own.ip.len() == 4 { libc::AF_INET } else { libc::AF_INET6 };
    let reached = inet::open(family, libc::SOCK_DGRAM, 0).and_then(|socket| {
        inet::bind(&socket, &own.with_port(0).bytes()?)?;
        inet::connect(&socket, &to.bytes()?)
    });
    !matches!(reached, Err(Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::ENETDOWN))
}

/// Lets it go on, when all else is in place: nothing it sends leaves before its other end is let go.
fn start(record: &Record, made: &OwnedFd) -> Answer<()> {
    let (State::Kept { to, flow }, Some(own)) = (&record.state, &record.own) else { return Ok(()) };
    let (old, new) = flow.sent.split_at(flow.sent.len().saturating_sub(flow.unsent as usize));
    if let Some(stamp) = flow.stamp {
        repair::set_stamp(made, stamp)?;
    }
    grow(made, libc::SO_SNDBUF, flow.buffers.0)?;
    grow(made, libc::SO_RCVBUF, flow.buffers.1)?;
    with_room(made, libc::SO_SNDBUF, flow.sent.len(), || {
        repair::fill(made, Queue::Sent, old)?;
        repair::set_windows_as(made, flow.windows_here())?;
        repair::end(made)?;
        pair::send_all(made, new)
    })?;
    record.options.restore_reuse(made)?;
    if flow.ended {
        tell_end(own, to, flow, made)?;
    }
    match socket::shut(made, flow.shutdown) {
        Ok(()) | Err(Errno::ENOTCONN) => Ok(()),
        Err(errno) => Err(errno),
    }
}

impl Flow {
    /// The windows, as the kernel takes them when the other end's end has not come yet.
    fn windows_here(&self) -> [u32; 5] {
        let no_later = |place: u32| {
            let later = place.wrapping_sub(self.next_received) as i32 > 0;
            if later { self.next_received } else { place }
        };
        let [last, theirs, most, own, told] = self.windows;
        let own = if self.ended { own.max(1) } else { own };
        [no_later(last), theirs, most.max(theirs), own, no_later(told)]
    }
}

/// Gives it the end of the other direction once more, which its other end has sent and knows to have come.
fn tell_end(own: &Address, to: &Address, flow: &Flow, made: &OwnedFd) -> Answer<()> {
    let shift = flow.scale.map_or(0, |(theirs, _)| theirs.min(14));
    let window = u16::try_from(flow.windows[1] >> shift).unwrap_or(u16::MAX);
    let end = End { own, peer: to, sequence: flow.next_received, answered: flow.first_sent, window };
    end.send(hold::MARK)?;
    let patience = Instant::now() + Duration::from_secs(5);
    while !matches!(Info::of(made)?.state, facts::CLOSE_WAIT | facts::CLOSING | facts::LAST_ACK) {
        if Instant::now() > patience {
            return Err(Errno::ETIMEDOUT);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A buffer is as large as it had become, as far as the kernel would let it become so here; it goes on choosing.
fn grow(made: &OwnedFd, buffer: i32, before: i32) -> Answer<()> {
    const BUF_LOCK: i32 = 72;
    let (force, limits, bit) = if buffer == libc::SO_RCVBUF {
        (libc::SO_RCVBUFFORCE, "/proc/sys/net/ipv4/tcp_rmem", 2)
    } else {
        (libc::SO_SNDBUFFORCE, "/proc/sys/net/ipv4/tcp_wmem", 1)
    };
    let most = std::fs::read_to_string(limits).ok();
    let most = most.and_then(|text| text.split_whitespace().last()?.parse::<i32>().ok()).unwrap_or(0);
    let wanted = before.min(most);
    let locked = inet::option(made, libc::SOL_SOCKET, BUF_LOCK)?;
    if locked & bit != 0 || wanted <= socket::option(made, buffer)? {
        return Ok(());
    }
    inet::set_option(made, libc::SOL_SOCKET, force, wanted / 2)?;
    inet::set_option(made, libc::SOL_SOCKET, BUF_LOCK, locked)
}

/// Makes connections that are not held off any more, or all of them, such as are found reset; answers what is lost by it.
pub fn give_up(open_files: &mut [OpenFile], id: Option<&str>, all: bool) -> Vec<Problem> {
    let kept = records(open_files).unwrap_or_default();
    let kept: Vec<_> = kept.into_iter().filter(|(_, record)| matches!(record.state, State::Kept { .. })).collect();
    if kept.is_empty() {
        return Vec::new();
    }
    let held = id.filter(|_| !all).map(hold::held).unwrap_or_default();
    let mut problems = Vec::new();
    for (file, record) in kept {
        let State::Kept { to, flow } = &record.state else { continue };
        if ends_of(&record).is_some_and(|ends| held.contains(&ends)) {
            continue;
        }
        let what = if all {
            phrase!("the other end of a TCP connection, {to}, is not wanted back", to = to.shown())
        } else {
            phrase!(
                "the other end of a TCP connection, {to}, was not held off all the time, so that it may have ended",
                to = to.shown()
            )
        };
        let loss = phrase!("the connection: the program finds it reset");
        let problem = Problem::loses(ProblemKind::Socket, what, loss);
        problems.push(match &record.own {
            Some(own) => problem.at(own.shown()),
            None => problem,
        });
        let ended = Record { state: State::Ended { received: flow.received().clone(), news: true }, ..record.clone() };
        if let Ok(value) = ciborium::Value::serialized(&ended) {
            open_files[file.0].record = value;
        }
    }
    problems
}

/// The connections of an image that are kept, to hold them off.
pub fn ends(open_files: &[OpenFile]) -> Vec<Ends> {
    let kept = records(open_files).unwrap_or_default();
    kept.iter().filter_map(|(_, record)| ends_of(record)).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Those of one that is kept.
fn ends_of(record: &Record) -> Option<Ends> {
    let State::Kept { to, .. } = &record.state else { return None };
    Some(Ends { own: record.own.as_ref()?.listed(), peer: to.listed() })
}

/// Thawed sockets that are kept: dropped, they vanish without a packet.
#[derive(Debug, Default)]
pub struct Kept {
    sockets: Vec<(Record, OwnedFd)>,
    /// What holds their other ends off while the group is let go.
    hold: Option<Hold>,
}

impl Kept {
    /// Those among the files of a group.
    pub fn of<'a>(open_files: &[OpenFile], made: impl Fn(FileId) -> Option<&'a OwnedFd>) -> Result<Self, Problem> {
        let mut kept = Self::default();
        for (id, record) in records(open_files)? {
            if let (State::Kept { .. }, Some(made)) = (&record.state, made(id)) {
                let own = made.try_clone().map_err(|error| {
                    Problem::blocks(ProblemKind::Limit, phrase!("a TCP socket cannot be watched: {why}", why = error))
                })?;
                kept.sockets.push((record, own));
            }
        }
        Ok(kept)
    }

    /// Lets them go on behind what holds their other ends off.
    pub fn start(&self) -> Result<(), Problem> {
        self.sockets.iter().try_for_each(|(record, made)| {
            start(record, made).map_err(|errno| {
                let why = match errno {
                    Errno::ETIMEDOUT => {
                        phrase!("the end of what its other end has sent does not come to it: another packet filter of this machine drops it")
                    }
                    errno => Phrase::verbatim(errno.desc()),
                };
                let problem = Problem::blocks(ProblemKind::Socket, phrase!("a TCP connection cannot go on: {why}", why));
                let problem = problem.way_out(phrase!("Thaw it with its connections reset (--reset-connections)"));
                record.own.iter().fold(problem, |problem, own| problem.at(own.shown()))
            })
        })
    }

    /// From now on they are held off only as long as the engine lives: the group is about to be let go.
    pub fn take_over(&mut self, id: Option<&str>) -> Result<(), Problem> {
        let ends = |(record, _): &(Record, OwnedFd)| ends_of(record);
        let connections: Vec<Ends> = self.sockets.iter().filter_map(ends).collect();
        if let (Some(id), false) = (id, connections.is_empty()) {
            self.hold = Some(Hold::take_over(id, connections).map_err(not_held)?);
        }
        Ok(())
    }

    /// The group has them: nobody is held off any more.
    pub fn let_go(mut self, id: Option<&str>) {
        if let Some(hold) = self.hold.take() {
            hold.let_go();
        }
        // Those that were given up.
        if let Some(Err(error)) = id.map(hold::lift) {
            tracing::warn!(%error, "the packet filter of an image stays");
        }
        for (_, made) in std::mem::take(&mut self.sockets) {
            // What could not leave is sent now, and not only when the kernel tries again.
            if inet::option(&made, libc::IPPROTO_TCP, libc::TCP_CORK) == Ok(0) {
                let _ = inet::set_option(&made, libc::IPPROTO_TCP, libc::TCP_CORK, 0);
            }
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for (_, made) in &self.sockets {
            let _ = repair::begin(made);
        }
    }
}
