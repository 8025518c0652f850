//! Packet sockets, packet(7): bound to an interface, with a filter, what is heard beside, options, and one of a group that shares the
//! traffic; then they hear what is sent.

use std::os::fd::{AsRawFd, OwnedFd};

use crate::descriptors::{owned, would_wait};
use crate::kernel::{at, call, into};
use crate::sockets::{get, receive, set};
use crate::stage::{Held, Stage, Trouble};

const PACKET: i32 = libc::SOL_PACKET;
/// A type of frames that nobody else sends, IEEE 802 local experimental; each run of this program has words of its own in them.
const EXPERIMENT: u16 = 0x88b5;
const LOOPBACK: u32 = 1;
/// PACKET_VNET_HDR_SZ, since Linux 6.6.
const VNET_HDR_SZ: i32 = 24;

/// `struct sockaddr_ll` for all hosts of the loopback device.
fn address(protocol: u16) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..2].copy_from_slice(&(libc::AF_PACKET as u16).to_ne_bytes());
    bytes[2..4].copy_from_slice(&protocol.to_be_bytes());
    bytes[4..8].copy_from_slice(&LOOPBACK.to_ne_bytes());
    bytes[11] = 6;
    bytes
}

fn open(kind: i32) -> Result<OwnedFd, Trouble> {
    let kind = (kind | libc::SOCK_NONBLOCK) as usize;
    Ok(owned(call(libc::SYS_socket, &[libc::AF_PACKET as usize, kind, 0])?))
}

fn bind(socket: &OwnedFd) -> Held {
    call(libc::SYS_bind, &[socket.as_raw_fd() as usize, at(&address(EXPERIMENT)), 20])?;
    Ok(())
}

/// PACKET_ADD_MEMBERSHIP, `struct packet_mreq`.
fn hear(socket: &OwnedFd, kind: u16, hardware: &[u8]) -> Held {
    let mut request = [0_u8; 16];
    request[..4].copy_from_slice(&LOOPBACK.to_ne_bytes());
    request[4..6].copy_from_slice(&kind.to_ne_bytes());
    request[6..8].copy_from_slice(&(hardware.len() as u16).to_ne_bytes());
    request[8..8 + hardware.len()].copy_from_slice(hardware);
    let add = libc::PACKET_ADD_MEMBERSHIP as usize;
    call(libc::SYS_setsockopt, &[socket.as_raw_fd() as usize, PACKET as usize, add, at(&request), 16])?;
    Ok(())
}

/// Lets nothing through but what begins with these four bytes behind the head of the frame: classic BPF.
fn filter(socket: &OwnedFd, word: u32) -> Held {
    let program: [libc::sock_filter; 4] = [
        libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 },
        libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: word },
        libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0xffff },
        libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 },
    ];
    let program = libc::sock_fprog { len: 4, filter: program.as_ptr().cast_mut() };
    let attach = libc::SO_ATTACH_FILTER as usize;
    call(libc::SYS_setsockopt, &[socket.as_raw_fd() as usize, libc::SOL_SOCKET as usize, attach, at(&program), 16])?;
    Ok(())
}

fn send(word: u32, text: &[u8]) -> Held {
    let socket = open(libc::SOCK_DGRAM)?;
    let bytes = [&word.to_be_bytes()[..], text].concat();
    let to = address(EXPERIMENT);
    call(libc::SYS_sendto, &[socket.as_raw_fd() as usize, at(bytes.as_slice()), bytes.len(), 0, at(&to), 20])?;
    Ok(())
}

/// Where it is bound: protocol and interface.
fn bound(socket: &OwnedFd) -> std::io::Result<(u16, u32)> {
    let (mut own, mut length) = ([0_u8; 20], 20_u32);
    call(libc::SYS_getsockname, &[socket.as_raw_fd() as usize, into(&mut own), into(&mut length)])?;
    Ok((u16::from_be_bytes([own[2], own[3]]), u32::from_ne_bytes([own[4], own[5], own[6], own[7]])))
}

pub fn hold(stage: &mut Stage) -> Held {
    let word = std::process::id() << 8 | 0x5a;
    let (plain, shared, deaf) = (open(libc::SOCK_DGRAM)?, open(libc::SOCK_DGRAM)?, open(libc::SOCK_RAW)?);
    filter(&plain, word)?;
    set(&plain, PACKET, libc::PACKET_AUXDATA, 1)?;
    set(&plain, libc::SOL_SOCKET, libc::SO_RCVBUF, 50_000)?;
    hear(&plain, libc::PACKET_MR_MULTICAST as u16, &[1, 0, 0x5e, 1, 2, 3])?;
    // Twice: one of them can be taken back.
    hear(&plain, libc::PACKET_MR_PROMISC as u16, &[])?;
    hear(&plain, libc::PACKET_MR_PROMISC as u16, &[])?;
    bind(&plain)?;
    filter(&shared, word)?;
    bind(&shared)?;
    // A group of one, by hash.
    let group = (std::process::id() & 0xffff) as i32;
    set(&shared, PACKET, libc::PACKET_FANOUT, group)?;
    set(&deaf, PACKET, libc::PACKET_VERSION, 2)?;
    set(&deaf, PACKET, libc::PACKET_RESERVE, 16)?;
    set(&deaf, PACKET, VNET_HDR_SZ, 12)?;
    let counted = "/sys/class/net/lo/flags";
    stage.keeps(|wrong| {
        wrong.gives("where it is bound", bound(&plain), (EXPERIMENT, LOOPBACK));
        wrong.gives("where one is not bound", bound(&deaf), (0, 0));
        wrong.gives("PACKET_AUXDATA", get(&plain, PACKET, libc::PACKET_AUXDATA), 1);
        wrong.gives("SO_RCVBUF", get(&plain, libc::SOL_SOCKET, libc::SO_RCVBUF), 100_000);
        wrong.gives("PACKET_FANOUT", get(&shared, PACKET, libc::PACKET_FANOUT), group);
        wrong.gives("PACKET_VERSION", get(&deaf, PACKET, libc::PACKET_VERSION), 2);
        wrong.gives("PACKET_VNET_HDR_SZ", get(&deaf, PACKET, VNET_HDR_SZ), 12);
        wrong.gives("PACKET_RESERVE", get(&deaf, PACKET, libc::PACKET_RESERVE), 16);
        // IFF_PROMISC is set as long as somebody listens so.
        let flags = std::fs::read_to_string(counted).unwrap_or_default();
        wrong.holds(
            "it hears all",
            u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).is_ok_and(|flags| flags & 0x100 != 0),
        );
    })?;
    send(word ^ 1, b"not for it")?;
    send(word, b"a frame")?;
    let expected = [&word.to_be_bytes()[..], b"a frame"].concat();
    for (name, socket) in [("plain", &plain), ("shared", &shared)] {
        // The loopback device gives what is sent out and in.
        stage.wrong.gives(name, receive(socket, 0), expected.clone());
        let mut again = receive(socket, 0);
        while again.is_ok() {
            stage.wrong.gives(name, again, expected.clone());
            again = receive(socket, 0);
        }
        stage.wrong.holds("nothing else has come", would_wait(&again));
    }
    stage.wrong.holds("one that hears nothing has heard nothing", would_wait(&receive(&deaf, 0)));
    Ok(())
}
