//! The sockets of a group that are no unix sockets: where it listens, what it is connected to, what it asks the kernel.
//! Each is looked up in the lists of the network namespaces of those who hold it; what is in none of them, the kernel names
//! itself.

use std::collections::{BTreeMap, HashMap};

use dormouse_wire::needs::{Endpoint, EndpointState};

use super::super::connections::holdings::{Holdings, Target};
use super::super::networks::Network;
use super::Holders;
use crate::kernel::files;
use crate::proc::tcp::{self, TcpLine};
use crate::proc::{netlink, packet};

/// What is known of a socket.
type About = (String, EndpointState, Option<String>, Option<String>, bool);

/// The ends that these processes hold.
pub fn of(own: &[&Holdings]) -> Vec<Endpoint> {
    let mut held: HashMap<u64, (Holders, String)> = HashMap::new();
    for holding in own {
        for descriptor in &holding.descriptors {
            if let Target::Socket(inode) = descriptor.target {
                let path = format!("/proc/{}/fd/{}", holding.name.pid, descriptor.number);
                let holders = &mut held.entry(inode).or_insert_with(|| (Holders::default(), path)).0;
                holders.add(&holding.name, Some(descriptor.number));
            }
        }
    }
    if held.is_empty() {
        return Vec::new();
    }
    let known = known(own);
    let mut found: BTreeMap<(About, u64), Holders> = BTreeMap::new();
    for (inode, (holders, path)) in held {
        if let Some(about) = known.get(&inode).cloned().or_else(|| named(&path)) {
            found.insert((about, inode), holders);
        }
    }
    let endpoint = |(((protocol, state, local, remote, elsewhere), _), holders): ((About, u64), Holders)| Endpoint {
        protocol,
        state,
        local,
        remote,
        elsewhere,
        holders: holders.listed(),
    };
    found.into_iter().map(endpoint).collect()
}

/// All sockets of the network namespaces that these processes are in, by their inodes.
fn known(own: &[&Holdings]) -> HashMap<u64, About> {
    let mut known = HashMap::new();
    for network in Network::all(own.iter().copied()) {
        for (inode, (protocol, state, local, remote)) in in_namespace(&network) {
            known.insert(inode, (protocol, state, local, remote, network.elsewhere));
        }
    }
    known
}

type Listed = (u64, (String, EndpointState, Option<String>, Option<String>));

fn in_namespace(network: &Network) -> Vec<Listed> {
    let mut all = Vec::new();
    for protocol in ["tcp", "udp", "udplite", "icmp", "raw"] {
        for list in [protocol.to_owned(), format!("{protocol}6")] {
            all.extend(network.listed(&list, tcp::parse).iter().map(|line| internet(protocol, line)));
        }
    }
    all.extend(network.listed("netlink", netlink::parse).iter().map(|line| {
        let part = Some(part_of_kernel(line.protocol));
        (line.inode, ("netlink".to_owned(), EndpointState::Open, part, None))
    }));
    all.extend(network.listed("packet", packet::parse).iter().map(|line| {
        let interface =
            if line.interface == 0 { "all interfaces".to_owned() } else { format!("interface {}", line.interface) };
        (line.inode, ("packet".to_owned(), EndpointState::Open, Some(interface), None))
    }));
    all
}

fn internet(protocol: &str, line: &TcpLine) -> Listed {
    use EndpointState::{Bound, Closing, Connected, Connecting, Listens};
    let has_peer = !line.remote.ip().is_unspecified() || line.remote.port() != 0;
    // include/net/tcp_states.h
    let state = match (protocol, line.state) {
        ("tcp", 10) => Listens,
        ("tcp", 2 | 3 | 12) => Connecting,
        ("tcp", 1) => Connected,
        ("tcp", 7) if !has_peer => Bound,
        ("tcp", _) => Closing,
        _ if has_peer => Connected,
        _ => Bound,
    };
    let local = match protocol {
        "raw" => format!("{} (protocol {})", line.local.ip(), line.local.port()),
        _ => line.local.to_string(),
    };
    let remote =
        has_peer.then(|| if protocol == "raw" { line.remote.ip().to_string() } else { line.remote.to_string() });
    (line.inode, (protocol.to_owned(), state, Some(local), remote))
}

/// What the kernel says of a socket that is in no list: one of another family, or one that is bound nowhere, which needs
/// nothing.
fn named(descriptor: &str) -> Option<About> {
    const LISTED_WHEN_BOUND: [&str; 12] = [
        "TCP",
        "TCPv6",
        "UDP",
        "UDPv6",
        "UDP-Lite",
        "UDPLITEv6",
        "PING",
        "PINGv6",
        "UNIX",
        "UNIX-STREAM",
        "MPTCP",
        "MPTCPv6",
    ];
    let name = files::socket_protocol(descriptor.as_ref()).ok()?;
    let bound_nowhere = LISTED_WHEN_BOUND.contains(&name.as_str());
    (!bound_nowhere).then(|| (name.trim_start_matches("AF_").to_lowercase(), EndpointState::Open, None, None, false))
}

/// `NETLINK_*` of include/uapi/linux/netlink.h.
fn part_of_kernel(protocol: u32) -> String {
    let name = match i32::try_from(protocol).unwrap_or(-1) {
        libc::NETLINK_ROUTE => "route",
        libc::NETLINK_SOCK_DIAG => "sock_diag",
        libc::NETLINK_NFLOG => "nflog",
        libc::NETLINK_XFRM => "xfrm",
        libc::NETLINK_SELINUX => "selinux",
        libc::NETLINK_AUDIT => "audit",
        libc::NETLINK_CONNECTOR => "connector",
        libc::NETLINK_NETFILTER => "netfilter",
        libc::NETLINK_KOBJECT_UEVENT => "kobject_uevent",
        libc::NETLINK_GENERIC => "generic",
        libc::NETLINK_CRYPTO => "crypto",
        _ => return format!("protocol {protocol}"),
    };
    name.to_owned()
}
