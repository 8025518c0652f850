//! A packet filter of nf_tables, nfnetlink(7) in linux/netfilter/nf_tables.h: a table of its own that drops what is sent on
//! certain TCP connections, in both directions, and nothing else. It takes CAP_NET_ADMIN.
//!
//! A table has two sets of connections, for IPv4 and IPv6, and two chains that look into them: one for packets that have come
//! for this machine, one for those that leave it.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::message::{Attributes, attributes, half, word};
use super::{Answer, Errno};

/// A TCP connection by its two addresses, as they are in packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ends {
    /// The address on this machine.
    pub own: SocketAddr,
    /// The other one.
    pub peer: SocketAddr,
}

/// How long a table stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// As long as the [`Channel`] that made it is open, even where its process is killed. Linux 5.12.
    WithChannel,
    /// Until it is removed or the machine is started anew; it drops nothing before it is woken.
    Asleep,
    /// Until it is removed or the machine is started anew.
    Awake,
}

/// A table.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// Its name.
    pub name: &'a str,
    /// How long it stays.
    pub stay: Stay,
    /// Packets with this mark are let through, SO_MARK in socket(7).
    pub mark: u32,
    /// The connections.
    pub connections: &'a [Ends],
}

const SUBSYSTEM: u16 = 10; // NFNL_SUBSYS_NFTABLES
const BEGIN: u16 = 0x10; // NFNL_MSG_BATCH_BEGIN
const END: u16 = 0x11; // NFNL_MSG_BATCH_END
const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const NEW_SET: u16 = 9;
const NEW_ELEMENTS: u16 = 12;
const GET_ELEMENTS: u16 = 13;

/// NFT_TABLE_F_DORMANT.
const ASLEEP: u32 = 1;
const CREATE: i32 = libc::NLM_F_CREATE;
const INET: u8 = 1; // NFPROTO_INET
const ACCEPT: u32 = 1; // NF_ACCEPT
const DROP: u32 = 0; // NF_DROP
/// The first of the registers of four bytes, NFT_REG32_00.
const REGISTER: u32 = 8;
/// Before everybody else, NF_IP_PRI_RAW.
const FIRST: i32 = -300;
/// So many connections go into one message: the length of an attribute has 16 bits.
const AT_ONCE: usize = 500;
/// Within this time the kernel has answered.
const PATIENCE: i64 = 10;

/// The addresses of a family as they are in a set and in packets.
struct Family {
    set: &'static str,
    /// The identifier of the set among those made together.
    number: u32,
    /// NFPROTO_IPV4, NFPROTO_IPV6.
    protocol: u8,
    /// An address, bytes.
    length: u32,
    /// Where the source and the destination are in a header.
    places: [u32; 2],
    /// The type of an address as nft(8) numbers them, for who lists the set.
    kind: u32,
}

const FAMILIES: [Family; 2] = [
    Family { set: "ipv4", number: 1, protocol: 2, length: 4, places: [12, 16], kind: 7 },
    Family { set: "ipv6", number: 2, protocol: 10, length: 16, places: [8, 24], kind: 8 },
];

/// A chain: its name, its hook, and whether the source of what it sees is our own address.
const CHAINS: [(&str, u32, bool); 2] = [("input", 1, false), ("output", 3, true)];

/// What the kernel is spoken to through.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Opens one. EPROTONOSUPPORT: this kernel has no packet filters that can be spoken to.
    pub fn open() -> Answer<Self> {
        let kind = (SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter);
        let channel = socket(AddressFamily::Netlink, kind.0, kind.1, kind.2)?;
        setsockopt(&channel, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE))?;
        Ok(Self(channel))
    }

    /// Whether a table could be made. EPERM: CAP_NET_ADMIN is missing. EOPNOTSUPP, EINVAL, ENOENT: this kernel's nf_tables
    /// lacks a part that it takes.
    pub fn rehearse(&self, table: Table<'_>) -> Answer<()> {
        // Without its end the kernel takes a batch back, once it has looked at it.
        self.work(&making(table), false)
    }

    /// Makes a table. EEXIST: there is one of this name.
    pub fn make(&self, table: Table<'_>) -> Answer<()> {
        self.work(&making(table), true)
    }

    /// Wakes a table that sleeps.
    pub fn wake(&self, name: &str) -> Answer<()> {
        let flags = Attributes::new().text(1, name).word(2, 0);
        self.work(&[message(NEW_TABLE, 0, INET, &flags)], true)
    }

    /// Removes a table. ENOENT: there is none of this name.
    pub fn remove(&self, name: &str) -> Answer<()> {
        self.work(&[message(DELETE_TABLE, 0, INET, &Attributes::new().text(1, name))], true)
    }

    /// The connections of a table; none where it sleeps. ENOENT: there is none of this name.
    pub fn connections(&self, name: &str) -> Answer<Vec<Ends>> {
        let mut found = Vec::new();
        if !self.is_awake(name)? {
            return Ok(found);
        }
        for family in &FAMILIES {
            let which = Attributes::new().text(1, name).text(2, family.set);
            self.say(&message(GET_ELEMENTS, libc::NLM_F_DUMP, INET, &which))?;
            self.hear(|kind, body| {
                let elements = attributes(body.get(4..).unwrap_or_default()).find(|(kind, _)| *kind == 3);
                if kind == SUBSYSTEM << 8 | NEW_ELEMENTS {
                    found.extend(elements.into_iter().flat_map(|(_, all)| attributes(all)).filter_map(element));
                }
                false
            })?;
        }
        Ok(found)
    }

    fn is_awake(&self, name: &str) -> Answer<bool> {
        self.say(&message(GET_TABLE, 0, INET, &Attributes::new().text(1, name)))?;
        let mut flags = None;
        self.hear(|_, body| {
            let mut told = attributes(body.get(4..).unwrap_or_default());
            flags = told.find(|(kind, _)| *kind == 2).and_then(|(_, value)| word(value, 0)).map(u32::from_be);
            true
        })?;
        flags.map(|flags| flags & ASLEEP == 0).ok_or(Errno::EBADMSG)
    }

    /// Does a batch of things, all or none.
    fn work(&self, messages: &[Vec<u8>], really: bool) -> Answer<()> {
        let nobody = Attributes::new();
        let mut batch = with_type(BEGIN, 0, 0, SUBSYSTEM, &nobody);
        let last = messages.len().saturating_sub(1);
        for (index, message) in messages.iter().enumerate() {
            batch.extend(message);
            if index == last {
                // The flags stand behind length and type.
                let flags = batch.len() - message.len() + 6;
                let wanted = half(message, 6).unwrap_or_default() | libc::NLM_F_ACK as u16;
                batch.splice(flags..flags + 2, wanted.to_ne_bytes());
            }
        }
        if really {
            batch.extend(with_type(END, 0, 0, SUBSYSTEM, &nobody));
        }
        self.say(&batch)?;
        self.hear(|_, _| false)
    }

    fn say(&self, bytes: &[u8]) -> Answer<()> {
        if bytes.len() > 64 * 1024 {
            setsockopt(&self.0, sockopt::SndBufForce, &(bytes.len() * 2))?;
        }
        send(self.0.as_raw_fd(), bytes, MsgFlags::empty()).map(drop)
    }

    /// Takes messages until the kernel says that it is done, or why it is not.
    fn hear(&self, mut take: impl FnMut(u16, &[u8]) -> bool) -> Answer<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EAGAIN) => return Err(Errno::ETIMEDOUT),
                length => length?,
            };
            let mut rest = &buffer[..length];
            while let Some(length) = word(rest, 0).map(|length| length as usize).filter(|length| *length >= 16) {
                let body = rest.get(16..length).ok_or(Errno::EBADMSG)?;
                match (half(rest, 4).unwrap_or_default(), word(body, 0).map(|code| code as i32)) {
                    (2, Some(0)) | (3, _) => return Ok(()), // NLMSG_ERROR with nothing wrong, NLMSG_DONE
                    (2, code) => return Err(Errno::from_raw(code.map_or(libc::EBADMSG, i32::wrapping_neg))),
                    (kind, _) if take(kind, body) => return Ok(()),
                    _ => {}
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

/// `struct nlmsghdr`, `struct nfgenmsg` and attributes; `resource`: of a batch, its subsystem.
fn with_type(kind: u16, flags: i32, family: u8, resource: u16, body: &Attributes) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(20 + body.bytes().len());
    bytes.extend((20 + body.bytes().len() as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(((libc::NLM_F_REQUEST | flags) as u16).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(body.bytes());
    bytes
}

fn message(kind: u16, flags: i32, family: u8, body: &Attributes) -> Vec<u8> {
    with_type(SUBSYSTEM << 8 | kind, flags, family, 0, body)
}

/// All that makes a table.
fn making(table: Table<'_>) -> Vec<Vec<u8>> {
    let name = table.name;
    let flags = match table.stay {
        Stay::Awake => 0,
        Stay::Asleep => ASLEEP,
        Stay::WithChannel => 2, // NFT_TABLE_F_OWNER
    };
    let exclusively = CREATE | libc::NLM_F_EXCL;
    let mut all = vec![message(NEW_TABLE, exclusively, INET, &Attributes::new().text(1, name).word(2, flags))];
    for family in &FAMILIES {
        // Two addresses, each with its port in four bytes, and the types of the four.
        let kinds = [family.kind, 13, family.kind, 13].iter().fold(0, |all, kind| all << 6 | kind);
        let set = Attributes::new().text(1, name).text(2, family.set).word(3, 0).word(4, kinds);
        let set = set.word(5, 2 * (family.length + 4)).word(10, family.number);
        all.push(message(NEW_SET, CREATE, INET, &set));
        let keys: Vec<Vec<u8>> = table.connections.iter().filter_map(|ends| key(ends, family)).collect();
        for keys in keys.chunks(AT_ONCE) {
            let elements = keys.iter().fold(Attributes::new(), |all, key| {
                all.nest(1, Attributes::new().nest(1, Attributes::new().bytes_of(1, key)))
            });
            let to = Attributes::new().text(1, name).text(2, family.set).word(4, family.number);
            all.push(message(NEW_ELEMENTS, CREATE, INET, &to.nest(3, elements)));
        }
    }
    for (chain, hook, from_us) in CHAINS {
        let place = Attributes::new().word(1, hook).word(2, FIRST as u32);
        let made = Attributes::new().text(1, name).text(3, chain).nest(4, place).word(5, ACCEPT).text(7, "filter");
        all.push(message(NEW_CHAIN, CREATE, INET, &made));
        let mut rule = |steps: Attributes| {
            let rule = Attributes::new().text(1, name).text(2, chain).nest(4, steps);
            all.push(message(NEW_RULE, CREATE | libc::NLM_F_APPEND, INET, &rule));
        };
        rule(verdict(equals(Attributes::new(), 3, &table.mark.to_ne_bytes()), ACCEPT)); // NFT_META_MARK
        for family in &FAMILIES {
            rule(verdict(looks_up(family, from_us), DROP));
        }
    }
    all
}

/// A step of a rule: one of the kernel's expressions.
fn step(steps: Attributes, name: &str, what: Attributes) -> Attributes {
    steps.nest(1, Attributes::new().text(1, name).nest(2, what))
}

/// Goes on where something that is known of a packet (`NFT_META_*`) is equal to this.
fn equals(steps: Attributes, what: u32, value: &[u8]) -> Attributes {
    let loaded = step(steps, "meta", Attributes::new().word(1, REGISTER).word(2, what));
    let value = Attributes::new().bytes_of(1, value);
    step(loaded, "cmp", Attributes::new().word(1, REGISTER).word(2, 0).nest(3, value))
}

/// Goes on where a packet belongs to a connection of the set: our own address, its port, the other end's, its port.
fn looks_up(family: &Family, from_us: bool) -> Attributes {
    const NETWORK: u32 = 1; // NFT_PAYLOAD_NETWORK_HEADER
    const TRANSPORT: u32 = 2; // NFT_PAYLOAD_TRANSPORT_HEADER
    let steps = equals(Attributes::new(), 15, &[family.protocol]); // NFT_META_NFPROTO
    let mut steps = equals(steps, 16, &[libc::IPPROTO_TCP as u8]); // NFT_META_L4PROTO
    let mut register = REGISTER;
    let [source, destination] = [(family.places[0], 0), (family.places[1], 2)];
    for (address, port) in if from_us { [source, destination] } else { [destination, source] } {
        for (base, at, length) in [(NETWORK, address, family.length), (TRANSPORT, port, 2)] {
            let what = Attributes::new().word(1, register).word(2, base).word(3, at).word(4, length);
            steps = step(steps, "payload", what);
            register += length.div_ceil(4);
        }
    }
    step(steps, "lookup", Attributes::new().text(1, family.set).word(2, REGISTER).word(4, family.number))
}

fn verdict(steps: Attributes, code: u32) -> Attributes {
    let verdict = Attributes::new().nest(2, Attributes::new().word(1, code));
    step(steps, "immediate", Attributes::new().word(1, 0).nest(2, verdict))
}

/// A connection as it is in the set of this family; none: it is of the other one.
fn key(ends: &Ends, family: &Family) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(40);
    for end in [ends.own, ends.peer] {
        match end.ip() {
            IpAddr::V4(ip) => key.extend(ip.octets()),
            IpAddr::V6(ip) => key.extend(ip.octets()),
        }
        key.extend(end.port().to_be_bytes());
        key.extend([0, 0]);
    }
    (key.len() == 2 * (family.length as usize + 4)).then_some(key)
}

/// The same back.
fn element((_, element): (u16, &[u8])) -> Option<Ends> {
    let (_, value) = attributes(element).find(|(kind, _)| *kind == 1)?;
    let (_, key) = attributes(value).find(|(kind, _)| *kind == 1)?;
    let end = |bytes: &[u8]| {
        let (ip, port) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        let ip = match ip.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
            _ => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
        };
        Some(SocketAddr::new(ip, u16::from_be_bytes(port.get(..2)?.try_into().ok()?)))
    };
    let (own, peer) = key.split_at_checked(key.len() / 2)?;
    Some(Ends { own: end(own)?, peer: end(peer)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(own: &str, peer: &str) -> Result<Ends, std::net::AddrParseError> {
        Ok(Ends { own: own.parse()?, peer: peer.parse()? })
    }

    #[test]
    fn a_table_is_rehearsed_made_read_and_gone_with_its_channel() -> Result<(), Box<dyn std::error::Error>> {
        let name = format!("dormouse-test-{}", std::process::id());
        let mut connections = vec![ends("[fd00::1]:22", "[fd00::2]:4000")?];
        connections.extend(
            (1..=1200).map(|port| Ends { own: ([127, 0, 0, 1], port).into(), peer: ([192, 0, 2, 1], 9).into() }),
        );
        let table = |stay| Table { name: &name, stay, mark: 7, connections: &connections };
        let (channel, other) = (Channel::open()?, Channel::open()?);
        match channel.rehearse(table(Stay::WithChannel)) {
            Err(Errno::EPERM) => return Ok(()),
            answer => answer?,
        }
        assert_eq!(channel.connections(&name), Err(Errno::ENOENT), "a rehearsal leaves something behind");
        channel.make(table(Stay::WithChannel))?;
        assert_eq!(channel.make(table(Stay::WithChannel)), Err(Errno::EEXIST));
        let mut found = other.connections(&name)?;
        found.sort();
        connections.sort();
        assert!(found == connections, "{} are found", found.len());
        assert_eq!(other.remove(&name), Err(Errno::EPERM), "a table is its channel's");
        drop(channel);
        // The kernel takes it back when it has closed the channel.
        let gone = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            other.connections(&name) == Err(Errno::ENOENT)
        });
        assert!(gone);
        Ok(())
    }

    #[test]
    fn a_table_that_is_woken_drops_its_connection_and_no_other() -> Result<(), Box<dyn std::error::Error>> {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let connect = || -> std::io::Result<_> {
            let one = std::net::TcpStream::connect(listener.local_addr()?)?;
            Ok((one, listener.accept()?.0))
        };
        let (held, held_peer) = connect()?;
        let (mut free, mut free_peer) = connect()?;
        let connections = [Ends { own: held.local_addr()?, peer: held.peer_addr()? }];
        let name = format!("dormouse-test-asleep-{}", std::process::id());
        let channel = Channel::open()?;
        match channel.make(Table { name: &name, stay: Stay::Asleep, mark: 7, connections: &connections }) {
            Err(Errno::EPERM) => return Ok(()),
            answer => answer?,
        }
        let mut byte = [0];
        (&held).write_all(b"a")?;
        (&held_peer).read_exact(&mut byte)?;
        assert_eq!(channel.connections(&name)?, [], "one that sleeps holds nobody off");
        channel.wake(&name)?;
        // Both ways it is held off, and what is sent comes when it is not any more.
        let soon = Some(std::time::Duration::from_millis(300));
        for (mut from, mut to) in [(&held, &held_peer), (&held_peer, &held)] {
            from.write_all(b"b")?;
            to.set_read_timeout(soon)?;
            let come = to.read(&mut byte).map_err(|error| error.kind());
            assert_eq!(come, Err(std::io::ErrorKind::WouldBlock));
        }
        free.write_all(b"c")?;
        free_peer.read_exact(&mut byte)?;
        assert_eq!(channel.connections(&name)?, connections);
        channel.remove(&name)?;
        assert_eq!(channel.remove(&name), Err(Errno::ENOENT));
        for mut end in [&held, &held_peer] {
            end.set_read_timeout(Some(std::time::Duration::from_secs(30)))?;
            end.read_exact(&mut byte)?;
            assert_eq!(&byte, b"b");
        }
        Ok(())
    }
}
