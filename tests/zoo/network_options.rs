//! Options of sockets of the network: numbers, times, buffers, names.

use std::net::{TcpListener, TcpStream};

use crate::kernel::{at, call, into};
use crate::sockets::{bind_to, get, inet, set};
use crate::stage::{Held, Stage};

const SOCKET: i32 = libc::SOL_SOCKET;
const IP: i32 = libc::IPPROTO_IP;
const IPV6: i32 = libc::IPPROTO_IPV6;
const TCP: i32 = libc::IPPROTO_TCP;
const TCP_USER_TIMEOUT: i32 = 18;
const TCP_NOTSENT_LOWAT: i32 = 25;

/// Level, option, value; buffers are read as twice what was asked for.
const OF_TCP: [(i32, i32, i32); 11] = [
    (SOCKET, libc::SO_KEEPALIVE, 1),
    (SOCKET, libc::SO_PRIORITY, 3),
    (SOCKET, libc::SO_RCVLOWAT, 5),
    (TCP, libc::TCP_NODELAY, 1),
    (TCP, libc::TCP_KEEPIDLE, 77),
    (TCP, libc::TCP_KEEPINTVL, 11),
    (TCP, libc::TCP_KEEPCNT, 3),
    (TCP, TCP_USER_TIMEOUT, 4321),
    (TCP, TCP_NOTSENT_LOWAT, 16_384),
    (TCP, libc::TCP_LINGER2, 17),
    (SOCKET, libc::SO_OOBINLINE, 1),
];
const OF_LISTENERS: [(i32, i32, i32); 3] =
    [(TCP, libc::TCP_DEFER_ACCEPT, 3), (TCP, libc::TCP_MAXSEG, 900), (TCP, libc::TCP_SYNCNT, 4)];
const OF_UDP: [(i32, i32, i32); 8] = [
    (SOCKET, libc::SO_BROADCAST, 1),
    (SOCKET, libc::SO_PEEK_OFF, 0),
    (IP, libc::IP_TTL, 9),
    (IP, libc::IP_TOS, 0x10),
    (IP, libc::IP_PKTINFO, 1),
    (IP, libc::IP_MULTICAST_TTL, 5),
    (IP, libc::IP_MULTICAST_LOOP, 0),
    (IP, libc::IP_RECVERR, 1),
];
const OF_SIX: [(i32, i32, i32); 4] = [
    (IPV6, libc::IPV6_UNICAST_HOPS, 9),
    (IPV6, libc::IPV6_MULTICAST_IF, 1),
    (IPV6, libc::IPV6_RECVPKTINFO, 1),
    (IPV6, libc::IPV6_V6ONLY, 1),
];

fn bytes(socket: &impl std::os::fd::AsRawFd, level: i32, option: i32) -> Vec<u8> {
    let (mut value, mut length) = (vec![0_u8; 16], 16_u32);
    let arguments =
        [socket.as_raw_fd() as usize, level as usize, option as usize, into(value.as_mut_slice()), into(&mut length)];
    let asked = call(libc::SYS_getsockopt, &arguments);
    value.truncate(length as usize);
    if asked.is_ok() { value } else { Vec::new() }
}

fn set_bytes(socket: &impl std::os::fd::AsRawFd, level: i32, option: i32, value: &[u8]) -> std::io::Result<i64> {
    let arguments = [socket.as_raw_fd() as usize, level as usize, option as usize, at(value), value.len()];
    call(libc::SYS_setsockopt, &arguments)
}

pub fn hold(stage: &mut Stage) -> Held {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    let udp = inet(libc::AF_INET, libc::SOCK_DGRAM)?;
    bind_to(&udp, &[127, 0, 0, 1], 0)?;
    let six = inet(libc::AF_INET6, libc::SOCK_DGRAM)?;
    for (level, option, value) in OF_TCP {
        set(&client, level, option, value)?;
    }
    for (level, option, value) in OF_LISTENERS {
        set(&listener, level, option, value)?;
    }
    for (level, option, value) in OF_UDP {
        set(&udp, level, option, value)?;
    }
    for (level, option, value) in OF_SIX {
        set(&six, level, option, value)?;
    }
    set_bytes(&server, TCP, libc::TCP_CONGESTION, b"reno")?;
    let time: Vec<u8> = [7_i64, 248_000].iter().flat_map(|word| word.to_ne_bytes()).collect();
    set_bytes(&server, SOCKET, libc::SO_RCVTIMEO, &time)?;
    let linger: Vec<u8> = [1_i32, 13].iter().flat_map(|word| word.to_ne_bytes()).collect();
    set_bytes(&server, SOCKET, libc::SO_LINGER, &linger)?;
    set(&server, SOCKET, libc::SO_SNDBUF, 30_000)?;
    set(&udp, SOCKET, libc::SO_RCVBUF, 40_000)?;
    let deferred = get(&listener, TCP, libc::TCP_DEFER_ACCEPT)?;
    stage.keeps(|wrong| {
        for (level, option, value) in OF_TCP {
            wrong.gives(&format!("option {option} of level {level}"), get(&client, level, option), value);
        }
        wrong.gives("TCP_DEFER_ACCEPT", get(&listener, TCP, libc::TCP_DEFER_ACCEPT), deferred);
        wrong.gives("TCP_MAXSEG", get(&listener, TCP, libc::TCP_MAXSEG), 900);
        wrong.gives("TCP_SYNCNT", get(&listener, TCP, libc::TCP_SYNCNT), 4);
        for (level, option, value) in OF_UDP {
            wrong.gives(&format!("option {option} of level {level} for UDP"), get(&udp, level, option), value);
        }
        for (level, option, value) in OF_SIX {
            wrong.gives(&format!("option {option} of level {level} for IPv6"), get(&six, level, option), value);
        }
        let name = bytes(&server, TCP, libc::TCP_CONGESTION);
        wrong.holds("TCP_CONGESTION", name.starts_with(b"reno\0"));
        wrong.equal("SO_RCVTIMEO", bytes(&server, SOCKET, libc::SO_RCVTIMEO), time.clone());
        wrong.equal("SO_LINGER", bytes(&server, SOCKET, libc::SO_LINGER), linger.clone());
        wrong.gives("SO_SNDBUF", get(&server, SOCKET, libc::SO_SNDBUF), 60_000);
        wrong.gives("SO_RCVBUF", get(&udp, SOCKET, libc::SO_RCVBUF), 80_000);
        const BUF_LOCK: i32 = 72;
        let locks = [get(&server, SOCKET, BUF_LOCK), get(&client, SOCKET, BUF_LOCK)];
        wrong.equal("who chose the buffers", locks.map(Result::ok), [Some(1), Some(0)]);
    })
}
