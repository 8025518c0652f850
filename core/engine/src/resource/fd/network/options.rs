//! Options of sockets of the network: socket(7), ip(7), ipv6(7), tcp(7), udp(7), netlink(7), packet(7), as far as they differ from
//! those of a new socket.

// zoo: no kind

use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::address::number_of;
use crate::kernel::{Answer, Errno, inet};
use crate::resource::fd::socket_filter::Filter;

/// The options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Those that are numbers: level, option, value.
    numbers: Vec<(i32, i32, i32)>,
    /// Those that are not: level, option, value.
    bytes: Vec<(i32, i32, ByteBuf)>,
    /// Those that name an interface, by its name: level, option, name.
    interfaces: Vec<(i32, i32, String)>,
    /// The interface it is bound to, SO_BINDTODEVICE.
    device: Option<String>,
    /// SO_SNDBUF as it is read, twice what was asked for, where the program has set it.
    sends: Option<i32>,
    /// SO_RCVBUF, likewise.
    receives: Option<i32>,
    /// What chooses what reaches it.
    #[serde(default)]
    filter: Option<Filter>,
}

const SOCKET: i32 = libc::SOL_SOCKET;
const IP: i32 = libc::IPPROTO_IP;
const IPV6: i32 = libc::IPPROTO_IPV6;
const TCP: i32 = libc::IPPROTO_TCP;
const UDP: i32 = libc::IPPROTO_UDP;
const NETLINK: i32 = libc::SOL_NETLINK;
const RAW: i32 = 255;
const BUF_LOCK: i32 = 72;

/// Numbers that are kept, as Linux numbers them: a kernel that does not know one says so.
const NUMBERS: [(i32, &[i32]); 7] = [
    // DEBUG, REUSEADDR, DONTROUTE, BROADCAST, KEEPALIVE, OOBINLINE, NO_CHECK, PRIORITY, REUSEPORT, RCVLOWAT, TIMESTAMP,
    // TIMESTAMPNS, MARK, TIMESTAMPING, RXQ_OVFL, WIFI_STATUS, PEEK_OFF, NOFCS, BUSY_POLL, MAX_PACING_RATE, ZEROCOPY,
    // TIMESTAMP_NEW, TIMESTAMPNS_NEW, PREFER_BUSY_POLL, RCVMARK
    (SOCKET, &[1, 2, 5, 6, 9, 10, 11, 12, 15, 18, 29, 35, 36, 37, 40, 41, 42, 43, 46, 47, 60, 63, 64, 69, 75]),
    // TOS, TTL, HDRINCL, RECVOPTS, RETOPTS, PKTINFO, MTU_DISCOVER, RECVERR, RECVTTL, RECVTOS, FREEBIND, PASSSEC,
    // TRANSPARENT, ORIGDSTADDR, MINTTL, NODEFRAG, CHECKSUM, BIND_ADDRESS_NO_PORT, RECVFRAGSIZE, RECVERR_RFC4884,
    // MULTICAST_IF, MULTICAST_TTL, MULTICAST_LOOP, MULTICAST_ALL, LOCAL_PORT_RANGE
    (IP, &[1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 15, 18, 19, 20, 21, 22, 23, 24, 25, 26, 32, 33, 34, 49, 51]),
    // CHECKSUM, UNICAST_HOPS, MULTICAST_HOPS, MULTICAST_LOOP, MTU_DISCOVER, RECVERR, V6ONLY, MULTICAST_ALL, RECVPKTINFO,
    // RECVHOPLIMIT, RECVHOPOPTS, RECVRTHDR, RECVDSTOPTS, RECVPATHMTU, DONTFRAG, RECVTCLASS, TCLASS, AUTOFLOWLABEL,
    // MINHOPCOUNT, ORIGDSTADDR, TRANSPARENT, RECVFRAGSIZE, FREEBIND
    (IPV6, &[7, 16, 18, 19, 23, 25, 26, 29, 49, 51, 53, 56, 58, 60, 62, 66, 67, 70, 73, 74, 75, 77, 78]),
    // NODELAY, CORK, KEEPIDLE, KEEPINTVL, KEEPCNT, SYNCNT, LINGER2, DEFER_ACCEPT, THIN_LINEAR, THIN_DUPACK, USER_TIMEOUT,
    // FASTOPEN, NOTSENT_LOWAT, SAVE_SYN, FASTOPEN_CONNECT, FASTOPEN_NO_COOKIE, INQ, TX_DELAY
    (TCP, &[1, 3, 4, 5, 6, 7, 8, 9, 16, 17, 18, 23, 25, 27, 30, 34, 36, 37]),
    // NO_CHECK6_TX, NO_CHECK6_RX, SEGMENT, GRO
    (UDP, &[101, 102, 103, 104]),
    // PKTINFO, BROADCAST_ERROR, NO_ENOBUFS, LISTEN_ALL_NSID, CAP_ACK, EXT_ACK, GET_STRICT_CHK
    (NETLINK, &[3, 4, 5, 8, 10, 11, 12]),
    // AUXDATA, ORIGDEV, VERSION, RESERVE, LOSS, VNET_HDR, VNET_HDR_SZ, TIMESTAMP, TX_HAS_OFF, QDISC_BYPASS,
    // IGNORE_OUTGOING
    (libc::SOL_PACKET, &[8, 9, 10, 12, 14, 15, 24, 17, 19, 20, 23]),
];

/// Others: LINGER, RCVTIMEO, SNDTIMEO, IP_OPTIONS, TCP_CONGESTION, ICMP_FILTER, ICMPV6_FILTER.
const BYTES: [(i32, i32); 7] = [
    (SOCKET, libc::SO_LINGER),
    (SOCKET, libc::SO_RCVTIMEO),
    (SOCKET, libc::SO_SNDTIMEO),
    (IP, 4),
    (TCP, libc::TCP_CONGESTION),
    (RAW, 1),
    (libc::IPPROTO_ICMPV6, 1),
];

/// The largest segment and the window that a program has asked for: once there is a connection, other things are answered.
const BEFORE_CONNECTIONS: [(i32, i32); 2] = [(TCP, libc::TCP_MAXSEG), (TCP, libc::TCP_WINDOW_CLAMP)];

/// What is sent to groups, TTL and LOOP: a stream has values for it that cannot be set, as for the interface.
const OF_GROUPS: [(i32, i32); 4] = [(IP, 33), (IP, 34), (IPV6, 18), (IPV6, 19)];

/// Interfaces: IP_UNICAST_IF, IPV6_UNICAST_IF (both in the order of the network), IPV6_MULTICAST_IF.
const INTERFACES: [(i32, i32); 3] = [(IP, 50), (IPV6, 76), (IPV6, 17)];

/// Those that must stand before the socket is bound.
const EARLY: [(i32, i32); 10] = [
    (SOCKET, libc::SO_REUSEPORT),
    (SOCKET, libc::SO_MARK),
    (IP, 15),
    (IP, 19),
    (IP, 24),
    (IP, 51),
    (IPV6, 26),
    (IPV6, 75),
    (IPV6, 78),
    (IP, 3),
];

/// Those that only somebody mightier than an ordinary user can set: DEBUG, MARK, BUSY_POLL, PREFER_BUSY_POLL, RCVMARK,
/// TRANSPARENT; and a PRIORITY above 6.
const MIGHTY: [(i32, i32); 7] =
    [(SOCKET, 1), (SOCKET, 36), (SOCKET, 46), (SOCKET, 69), (SOCKET, 75), (IP, 19), (IPV6, 75)];

/// What getsockopt(2) answers where there is no such option for this socket or in this state, or nothing to tell.
fn is_absent(errno: Errno) -> bool {
    use Errno as E;
    matches!(errno, E::ENOPROTOOPT | E::EOPNOTSUPP | E::EINVAL | E::EPERM | E::ENOTCONN | E::EADDRNOTAVAIL)
}

/// What a new socket has.
#[derive(Debug)]
pub struct Usual {
    /// Of each of [`numbers`], in their order; an error where it has none.
    numbers: Vec<Answer<i32>>,
    /// Of each of [`BYTES`].
    bytes: Vec<Answer<Vec<u8>>>,
}

impl Usual {
    /// What this one has, of which nobody has asked anything yet.
    pub fn of(fresh: &impl AsFd) -> Self {
        Self {
            numbers: numbers().map(|(level, option)| inet::option(fresh, level, option)).collect(),
            bytes: BYTES.iter().map(|(level, option)| bytes(fresh, *level, *option)).collect(),
        }
    }
}

/// All numbers, level and option.
fn numbers() -> impl Iterator<Item = (i32, i32)> {
    let kept = NUMBERS.iter().flat_map(|(level, all)| all.iter().map(|option| (*level, *option)));
    kept.chain(BEFORE_CONNECTIONS)
}

impl Options {
    /// Those of a socket that differ from the usual ones; `connected`: it is, or was, an end of a connection.
    pub fn capture(socket: &impl AsFd, usual: &Usual, connected: bool) -> Answer<Self> {
        let mut options = Self::default();
        let stream = inet::option(socket, SOCKET, libc::SO_TYPE) == Ok(libc::SOCK_STREAM);
        let is_kept = |option: &(i32, i32)| {
            !(stream && OF_GROUPS.contains(option) || connected && BEFORE_CONNECTIONS.contains(option))
        };
        for ((level, option), usual) in numbers().zip(&usual.numbers).filter(|(option, _)| is_kept(option)) {
            match (inet::option(socket, level, option), usual) {
                (Ok(value), Ok(usual)) if value != *usual => options.numbers.push((level, option, value)),
                (Err(errno), _) if !is_absent(errno) => return Err(errno),
                _ => {}
            }
        }
        for ((level, option), usual) in BYTES.into_iter().zip(&usual.bytes) {
            match (bytes(socket, level, option), usual) {
                (Ok(value), Ok(usual)) if value != *usual => {
                    options.bytes.push((level, option, ByteBuf::from(value)));
                }
                (Err(errno), _) if !is_absent(errno) => return Err(errno),
                _ => {}
            }
        }
        for (level, option) in INTERFACES.into_iter().filter(|place| !(stream && *place == (IPV6, 17))) {
            let number = inet::option(socket, level, option).unwrap_or(0);
            if number != 0 {
                let name = super::address::name_of(of_network(level, option, number) as u32).ok_or(Errno::ENODEV)?;
                options.interfaces.push((level, option, name));
            }
        }
        let device = inet::option_bytes(socket, SOCKET, libc::SO_BINDTODEVICE, &[], 16).unwrap_or_default();
        let device = String::from_utf8(device).map_err(|_| Errno::ENODEV)?;
        options.device = Some(device.trim_end_matches('\0').to_owned()).filter(|name| !name.is_empty());
        let set = inet::option(socket, SOCKET, BUF_LOCK).unwrap_or(0);
        let buffer = |bit: i32, option| (set & bit != 0).then(|| inet::option(socket, SOCKET, option)).transpose();
        options.sends = buffer(1, libc::SO_SNDBUF)?;
        options.receives = buffer(2, libc::SO_RCVBUF)?;
        options.filter = Filter::capture(socket)?;
        Ok(options)
    }

    /// The value of one, where it differs from the usual one.
    pub fn number(&self, level: i32, option: i32) -> Option<i32> {
        self.numbers.iter().find(|(its, number, _)| (*its, *number) == (level, option)).map(|(_, _, value)| *value)
    }

    /// What in it only somebody mightier than an ordinary user can have set.
    pub fn is_mighty(&self) -> bool {
        const PRIORITY: i32 = 12;
        let number = |(level, option, value): &(i32, i32, i32)| {
            MIGHTY.contains(&(*level, *option)) && *value != 0
                || (*level, *option) == (SOCKET, PRIORITY) && !(0..=6).contains(value)
        };
        self.numbers.iter().any(number)
            || self
                .bytes
                .iter()
                .any(|(level, option, name)| (*level, *option) == (TCP, libc::TCP_CONGESTION) && !is_allowed(name))
    }

    /// Whether a filter chooses what reaches it.
    pub fn has_filter(&self) -> bool {
        self.filter.is_some()
    }

    /// The interface it is bound to.
    pub fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// Gives a socket what must stand before it is bound.
    pub fn prepare(&self, made: &impl AsFd) -> Answer<()> {
        if let Some(device) = &self.device {
            inet::set_option_bytes(made, SOCKET, libc::SO_BINDTODEVICE, device.as_bytes())?;
        }
        self.set(made, |option| EARLY.contains(&option))
    }

    /// Gives a socket the rest; `forces`: its buffers may be larger than an ordinary user's.
    pub fn restore(&self, made: &impl AsFd, forces: bool) -> Answer<()> {
        self.set(made, |option| !EARLY.contains(&option))?;
        for (level, option, value) in &self.bytes {
            if BYTES.contains(&(*level, *option)) {
                inet::set_option_bytes(made, *level, *option, value)?;
            }
        }
        for (level, option, name) in &self.interfaces {
            if INTERFACES.contains(&(*level, *option)) {
                inet::set_option(made, *level, *option, of_network(*level, *option, number_of(name)? as i32))?;
            }
        }
        let buffers = [
            (libc::SO_SNDBUF, libc::SO_SNDBUFFORCE, self.sends),
            (libc::SO_RCVBUF, libc::SO_RCVBUFFORCE, self.receives),
        ];
        for (option, force, value) in buffers {
            let Some(value) = value.map(|value| value / 2) else { continue };
            let forced = if forces { inet::set_option(made, SOCKET, force, value) } else { Err(Errno::EPERM) };
            forced.or_else(|_| inet::set_option(made, SOCKET, option, value))?;
        }
        self.filter.as_ref().map_or(Ok(()), |filter| filter.restore(made))
    }

    /// Numbers that are not in the tables are none of ours: the image is untrusted.
    fn set(&self, made: &impl AsFd, which: impl Fn((i32, i32)) -> bool) -> Answer<()> {
        let known = |level: i32, option: i32| {
            BEFORE_CONNECTIONS.contains(&(level, option))
                || NUMBERS.iter().any(|(its, all)| *its == level && all.contains(&option))
        };
        for (level, option, value) in &self.numbers {
            // Reuse of addresses is set apart, when all are bound.
            let reuse = (*level, *option) == (SOCKET, libc::SO_REUSEADDR);
            if known(*level, *option) && which((*level, *option)) && !reuse {
                inet::set_option(made, *level, *option, *value)?;
            }
        }
        Ok(())
    }

    /// SO_REUSEADDR, which stands on every socket while the group is built.
    pub fn restore_reuse(&self, made: &impl AsFd) -> Answer<()> {
        inet::set_option(made, SOCKET, libc::SO_REUSEADDR, self.number(SOCKET, libc::SO_REUSEADDR).unwrap_or(0))
    }
}

fn bytes(socket: &impl AsFd, level: i32, option: i32) -> Answer<Vec<u8>> {
    inet::option_bytes(socket, level, option, &[], 64)
}

/// The number of an interface as this option has it, or back.
fn of_network(level: i32, option: i32, number: i32) -> i32 {
    if (level, option) == (IPV6, 17) { number } else { number.to_be() }
}

/// Whether anybody may choose this way to avoid congestion, tcp(7).
fn is_allowed(name: &[u8]) -> bool {
    let allowed = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_allowed_congestion_control").unwrap_or_default();
    let name = String::from_utf8_lossy(name);
    allowed.split_whitespace().any(|allowed| allowed == name.trim_end_matches('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_back() -> Result<(), Errno> {
        for family in [libc::AF_INET, libc::AF_INET6] {
            let new = || inet::open(family, libc::SOCK_STREAM, libc::IPPROTO_TCP);
            let (before, usual) = (new()?, Usual::of(&new()?));
            for (level, option, value) in
                [(SOCKET, 9, 1), (TCP, 1, 1), (TCP, 4, 77), (TCP, 18, 5000), (SOCKET, 8, 30_000)]
            {
                inet::set_option(&before, level, option, value)?;
            }
            inet::set_option_bytes(&before, TCP, libc::TCP_CONGESTION, b"reno")?;
            let time: Vec<u8> = [7_u64, 250_000].iter().flat_map(|word| word.to_ne_bytes()).collect();
            inet::set_option_bytes(&before, SOCKET, libc::SO_RCVTIMEO, &time)?;
            if family == libc::AF_INET6 {
                inet::set_option(&before, IPV6, 26, 1)?;
            }
            let options = Options::capture(&before, &usual, false)?;
            assert_eq!(options.number(TCP, 4), Some(77));
            assert!(!options.is_mighty() && options.sends.is_none() && options.receives == Some(60_000));
            let after = new()?;
            options.prepare(&after)?;
            options.restore(&after, false)?;
            assert_eq!(Options::capture(&after, &usual, false)?, options);
        }
        Ok(())
    }
}
