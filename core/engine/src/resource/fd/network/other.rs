//! Sockets of families and protocols that cannot be given back: vsock(7), MPTCP connections, and others. They are
//! refused by name, with what a person needs to find the connection.

// zoo: multipath_connection

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};

use crate::kernel::socket;
use crate::resource::fd::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore};

/// The kind.
#[derive(Debug)]
pub struct Other;

impl FileKind for Other {
    type Record = ();

    fn name(&self) -> &'static str {
        "network"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        facts.file_type() == libc::S_IFSOCK && socket::option(&facts.file, libc::SO_DOMAIN).is_ok()
    }

    fn judge(&self, facts: &FileFacts, _files: &FilesFacts) -> Vec<Problem> {
        let problem = facts
            .problem(ProblemKind::Socket, phrase!("{shown}, which cannot be frozen yet", shown = shown(&facts.file)));
        vec![problem.way_out(phrase!("Close it in the program, or pause the group instead"))]
    }

    fn capture(&self, facts: &FileFacts, _capture: &mut Capture<'_>) -> Result<(), Problem> {
        Err(facts.problem(ProblemKind::Socket, phrase!("it cannot be frozen")))
    }

    fn restore(&self, (): &(), _id: FileId, _file: &OpenFile, _restore: &mut Restore<'_>) -> Result<OwnedFd, Problem> {
        Err(Problem::blocks(ProblemKind::Image, phrase!("the image holds a socket that was never to be frozen")))
    }
}

/// What it is and where it leads, for a person: `it is a TCP connection from 127.0.0.1:80 to 127.0.0.1:4000`.
fn shown(file: &impl AsFd) -> Phrase {
    let option = |option| socket::option(file, option).unwrap_or(-1);
    let (domain, protocol) = (option(libc::SO_DOMAIN), option(libc::SO_PROTOCOL));
    if !matches!(domain, libc::AF_INET | libc::AF_INET6) {
        return phrase!("it is {family}", family = family(domain, protocol));
    }
    let name = match protocol {
        libc::IPPROTO_TCP => "TCP".to_owned(),
        libc::IPPROTO_UDP => "UDP".to_owned(),
        libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6 => "ICMP".to_owned(),
        libc::IPPROTO_SCTP => "SCTP".to_owned(),
        libc::IPPROTO_MPTCP => "MPTCP".to_owned(),
        other => format!("IP {other}"),
    };
    let own = socket::own_address(file).ok().and_then(|bytes| address(&bytes));
    let peer = socket::peer_address(file).ok().and_then(|bytes| address(&bytes));
    match (own, peer) {
        (Some(own), Some(peer)) => phrase!("it is a {name} connection from {own} to {peer}", name, own, peer),
        (Some(own), None) if option(libc::SO_ACCEPTCONN) == 1 => {
            phrase!("it is a {name} socket that listens at {own}", name, own)
        }
        (Some(own), None) if own.port() != 0 => phrase!("it is a {name} socket at {own}", name, own),
        _ => phrase!("it is a {name} socket", name),
    }
}

/// `struct sockaddr_in` or `struct sockaddr_in6`.
fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match i32::from(family) {
        libc::AF_INET => {
            let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some(SocketAddrV4::new(Ipv4Addr::from(ip), port).into())
        }
        libc::AF_INET6 => {
            let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            let scope = u32::from_ne_bytes(bytes.get(24..28)?.try_into().ok()?);
            Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope).into())
        }
        _ => None,
    }
}

fn family(domain: i32, protocol: i32) -> Phrase {
    match domain {
        libc::AF_NETLINK => match protocol {
            libc::NETLINK_ROUTE => phrase!("a netlink socket for the network's configuration"),
            libc::NETLINK_KOBJECT_UEVENT => phrase!("a netlink socket for news of devices"),
            libc::NETLINK_GENERIC => phrase!("a generic netlink socket"),
            libc::NETLINK_AUDIT => phrase!("a netlink socket for audit"),
            libc::NETLINK_SOCK_DIAG => phrase!("a netlink socket that tells of sockets"),
            _ => phrase!("a netlink socket"),
        },
        libc::AF_PACKET => phrase!("a packet socket, which sees the network's raw traffic"),
        libc::AF_VSOCK => phrase!("a connection between a virtual machine and its host (vsock)"),
        libc::AF_ALG => phrase!("a socket for the kernel's cryptography"),
        libc::AF_BLUETOOTH => phrase!("a Bluetooth socket"),
        libc::AF_CAN => phrase!("a CAN bus socket"),
        libc::AF_XDP => phrase!("an XDP socket"),
        other => phrase!("a socket of family {other}", other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_told_with_both_addresses() -> Result<(), Box<dyn std::error::Error>> {
        for own in ["127.0.0.1:0", "[::1]:0"] {
            let listener = std::net::TcpListener::bind(own)?;
            let client = std::net::TcpStream::connect(listener.local_addr()?)?;
            assert_eq!(shown(&listener), format!("it is a TCP socket that listens at {}", listener.local_addr()?));
            let expected = format!("it is a TCP connection from {} to {}", client.local_addr()?, client.peer_addr()?);
            assert_eq!(shown(&client), expected);
            let datagrams = std::net::UdpSocket::bind(own)?;
            assert_eq!(shown(&datagrams), format!("it is a UDP socket at {}", datagrams.local_addr()?));
        }
        Ok(())
    }

    #[test]
    fn no_address_makes_it_panic() {
        for length in 0..30 {
            for family in [libc::AF_INET, libc::AF_INET6, 0] {
                let mut bytes = vec![1; length];
                bytes.iter_mut().zip((family as u16).to_ne_bytes()).for_each(|(place, byte)| *place = byte);
                let _ = address(&bytes);
            }
        }
    }
}
