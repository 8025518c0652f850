//! Filters of sockets, SO_ATTACH_FILTER: of a unix socket, one of UDP, one of netlink that is locked, and one of TCP. What had
//! come before there was a filter is not touched by it.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;

use crate::kernel::{at, call};
use crate::netlink::netlink;
use crate::sockets::{get, pair, receive, send, set};
use crate::stage::{Held, Stage};

/// `struct sock_filter`.
type Instruction = (u16, u8, u8, u32);

const SO_LOCK_FILTER: i32 = 44;
/// All of a packet, or nothing.
const TAKE: Instruction = (0x06, 0, 0, u32::MAX);
const DROP: Instruction = (0x06, 0, 0, 0);

/// Drops what has an `x` at this place.
fn without_x(place: u32) -> [Instruction; 4] {
    [(0x30, 0, 0, place), (0x15, 0, 1, u32::from(b'x')), DROP, TAKE]
}

fn attach(socket: &impl AsRawFd, program: &[Instruction]) -> std::io::Result<i64> {
    let instructions: Vec<libc::sock_filter> =
        program.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect();
    let described = [instructions.len() as u64, at(instructions.as_slice()) as u64];
    let option = libc::SO_ATTACH_FILTER as usize;
    call(libc::SYS_setsockopt, &[socket.as_raw_fd() as usize, libc::SOL_SOCKET as usize, option, at(&described), 16])
}

pub fn hold(stage: &mut Stage) -> Held {
    let (one, other) = pair(libc::SOCK_DGRAM)?;
    send(&one, b"x before the filter")?;
    attach(&other, &without_x(0))?;

    let (here, there) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    there.connect(here.local_addr()?)?;
    there.send(b"x before the filter")?;
    here.set_nonblocking(true)?;
    // Eight bytes of UDP stand before the data.
    attach(&here, &without_x(8))?;

    let devices = netlink(libc::NETLINK_KOBJECT_UEVENT, 1)?;
    attach(&devices, &[TAKE])?;
    set(&devices, libc::SOL_SOCKET, SO_LOCK_FILTER, 1)?;

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    // Of a stream kernels of these days refuse that to an ordinary user.
    match attach(&server, &[TAKE]) {
        Err(error) if error.raw_os_error() != Some(libc::EPERM) => return Err(error.into()),
        _ => {}
    }

    stage.keeps(|wrong| {
        wrong.gives("the lock", get(&devices, libc::SOL_SOCKET, SO_LOCK_FILTER), 1);
        wrong.gives("no lock", get(&other, libc::SOL_SOCKET, SO_LOCK_FILTER), 0);
        let refused = attach(&devices, &[DROP]).err().and_then(|error| error.raw_os_error());
        wrong.equal("another filter behind the lock", refused, Some(libc::EPERM));
    })?;
    for text in ["x is dropped", "y is taken"] {
        send(&one, text.as_bytes())?;
        there.send(text.as_bytes())?;
    }
    stage.wrong.gives("the message before it", receive(&other, 0), b"x before the filter".to_vec());
    stage.wrong.gives("the message that is taken", receive(&other, 0), b"y is taken".to_vec());
    stage.wrong.gives("the datagram before it", receive(&here, 0), b"x before the filter".to_vec());
    stage.wrong.gives("the datagram that is taken", receive(&here, 0), b"y is taken".to_vec());
    send(&client, b"through TCP")?;
    server.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
    let mut said = [0; 11];
    std::io::Read::read_exact(&mut &server, &mut said)?;
    stage.wrong.equal("the stream", said, *b"through TCP");
    Ok(())
}
