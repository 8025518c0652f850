//! TCP sockets without a peer: listening for IPv4, IPv6 and both, with addresses that are shared, on one interface, bound
//! only, not even bound, in an epoll set, and shared by two processes.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use crate::descriptors::owned;
use crate::kernel::{at, call};
use crate::sockets::{bind_to, get, inet, port, set};
use crate::stage::{Held, Stage};

fn listener(family: i32, ip: &[u8], options: &[(i32, i32)], port: u16) -> std::io::Result<TcpListener> {
    let socket = inet(family, libc::SOCK_STREAM)?;
    for (level, option) in options {
        set(&socket, *level, *option, 1)?;
    }
    bind_to(&socket, ip, port)?;
    call(libc::SYS_listen, &[socket.as_raw_fd() as usize, 7])?;
    Ok(TcpListener::from(socket))
}

/// Whether somebody can connect there and is accepted.
fn serves(listener: &TcpListener, to: (std::net::IpAddr, u16)) -> bool {
    let Ok(client) = TcpStream::connect(to) else { return false };
    let accepted = listener.set_nonblocking(false).and_then(|()| listener.accept());
    // Whoever closes first keeps the address for a minute: not the listener, which does not share it.
    drop(client);
    accepted.is_ok()
}

fn backlog(listener: &TcpListener) -> u32 {
    let (mut info, mut length) = ([0_u32; 26], 104_u32);
    let asked = call(
        libc::SYS_getsockopt,
        &[
            listener.as_raw_fd() as usize,
            libc::IPPROTO_TCP as usize,
            libc::TCP_INFO as usize,
            crate::kernel::into(&mut info),
            crate::kernel::into(&mut length),
        ],
    );
    if asked.is_ok() { info[7] } else { 0 }
}

fn worker(stage: &mut Stage, listener: &TcpListener) -> Held {
    stage.ready_and_wait()?;
    stage.wrong.gives("the address, to the other process", listener.local_addr().map(|own| own.port() > 0), true);
    Ok(())
}

pub fn hold(stage: &mut Stage) -> Held {
    const SOCKET: i32 = libc::SOL_SOCKET;
    let (four, six, any) = (Ipv4Addr::LOCALHOST.octets(), Ipv6Addr::LOCALHOST.octets(), [0; 16]);
    let plain = listener(libc::AF_INET, &four, &[], 0)?;
    let both = listener(libc::AF_INET6, &any, &[(SOCKET, libc::SO_REUSEADDR)], 0)?;
    let only = listener(libc::AF_INET6, &six, &[(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)], 0)?;
    let shared = listener(libc::AF_INET, &four, &[(SOCKET, libc::SO_REUSEPORT)], 0)?;
    let beside = listener(libc::AF_INET, &four, &[(SOCKET, libc::SO_REUSEPORT)], port(&shared)?)?;
    let on_device = inet(libc::AF_INET, libc::SOCK_STREAM)?;
    call(
        libc::SYS_setsockopt,
        &[on_device.as_raw_fd() as usize, SOCKET as usize, libc::SO_BINDTODEVICE as usize, at(b"lo\0"), 3],
    )?;
    bind_to(&on_device, &[0; 4], 0)?;
    call(libc::SYS_listen, &[on_device.as_raw_fd() as usize, 3])?;
    let on_device = TcpListener::from(on_device);
    let bound = inet(libc::AF_INET, libc::SOCK_STREAM)?;
    bind_to(&bound, &four, 0)?;
    let unbound: OwnedFd = inet(libc::AF_INET6, libc::SOCK_STREAM)?;
    let epoll = owned(call(libc::SYS_epoll_create1, &[0])?);
    let event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 7 };
    let watch = [epoll.as_raw_fd() as usize, libc::EPOLL_CTL_ADD as usize, plain.as_raw_fd() as usize, at(&event)];
    call(libc::SYS_epoll_ctl, &watch)?;
    let ports: Vec<u16> =
        [&plain, &both, &only, &shared, &on_device].iter().map(|socket| port(*socket)).collect::<Result<_, _>>()?;
    let bound_port = port(&bound)?;
    let child = stage.child(|stage| worker(stage, &plain))?;
    stage.keeps(|wrong| {
        let now: Vec<u16> =
            [&plain, &both, &only, &shared, &on_device].iter().flat_map(|socket| port(*socket)).collect();
        wrong.equal("the ports", &now, &ports);
        wrong.equal("the backlogs", (backlog(&plain), backlog(&on_device)), (7, 3));
        for (socket, option, value) in [(&both, libc::SO_REUSEADDR, 1), (&plain, libc::SO_REUSEADDR, 0)] {
            wrong.gives("SO_REUSEADDR", get(socket, SOCKET, option), value);
        }
        wrong.gives("SO_REUSEPORT", get(&beside, SOCKET, libc::SO_REUSEPORT), 1);
        wrong.gives("IPV6_V6ONLY", get(&only, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY), 1);
        wrong.gives("the port that is bound only", port(&bound), bound_port);
        wrong.gives("the port of none", port(&unbound), 0);
        wrong.gives("whether it listens", get(&unbound, SOCKET, libc::SO_ACCEPTCONN), 0);
        let (four, six) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        wrong.holds("IPv4 is served", serves(&plain, (four, ports[0])));
        wrong.holds("both are served", serves(&both, (four, ports[1])) && serves(&both, (six, ports[1])));
        wrong.holds("IPv6 is served", serves(&only, (six, ports[2])) && TcpStream::connect((four, ports[2])).is_err());
        wrong.holds("the interface is served", serves(&on_device, (four, ports[4])));
        let _ = plain.set_nonblocking(true);
    })?;
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, ports[0]))?;
    let mut events = [libc::epoll_event { events: 0, u64: 0 }];
    let ready = call(libc::SYS_epoll_wait, &[epoll.as_raw_fd() as usize, crate::kernel::into(&mut events), 1, 5000])?;
    let data = events[0].u64;
    stage.wrong.equal("the set sees who comes", (ready, data), (1, 7));
    drop(client);
    call(libc::SYS_listen, &[bound.as_raw_fd() as usize, 1])?;
    stage.wrong.holds("the bound one can listen", TcpStream::connect((Ipv4Addr::LOCALHOST, bound_port)).is_ok());
    stage.join(child);
    Ok(())
}
