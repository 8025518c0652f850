//! UDP sockets: bound to one address and to all, connected, for IPv4, IPv6 and both, deaf, not even bound.

use std::net::UdpSocket;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::time::Duration;

use crate::sockets::{inet, poll};
use crate::stage::{Held, Stage};

/// Whether a datagram comes from one to the other.
fn reaches(from: &UdpSocket, to: &UdpSocket, address: (&str, u16)) -> bool {
    let mut bytes = [0; 9];
    let sent = from.send_to(b"a word", address).or_else(|_| from.send(b"a word"));
    let _ = to.set_read_timeout(Some(Duration::from_secs(5)));
    let came = to.recv(&mut bytes).is_ok_and(|length| &bytes[..length] == b"a word");
    let _ = to.set_read_timeout(None);
    sent.is_ok() && came
}

pub fn hold(stage: &mut Stage) -> Held {
    let four = UdpSocket::bind("127.0.0.1:0")?;
    let any = UdpSocket::bind("0.0.0.0:0")?;
    let six = UdpSocket::bind("[::1]:0")?;
    let both = UdpSocket::bind("[::]:0")?;
    let connected = UdpSocket::bind("127.0.0.1:0")?;
    connected.connect(four.local_addr()?)?;
    let outside = UdpSocket::bind("0.0.0.0:0")?;
    outside.connect("198.51.100.1:9")?;
    let deaf = UdpSocket::bind("127.0.0.1:0")?;
    deaf.connect(any.local_addr().map(|own| ("127.0.0.1", own.port()))?)?;
    // SAFETY: shutdown takes integers.
    unsafe { libc::shutdown(std::os::fd::AsRawFd::as_raw_fd(&deaf), libc::SHUT_RD) };
    // SAFETY: nobody else has this descriptor.
    let unbound = unsafe { UdpSocket::from_raw_fd(inet(libc::AF_INET, libc::SOCK_DGRAM)?.into_raw_fd()) };
    let all = [&four, &any, &six, &both, &connected, &outside, &deaf, &unbound];
    let names = || all.map(|socket| (socket.local_addr().ok(), socket.peer_addr().ok()));
    let before = names();
    stage.keeps(|wrong| {
        wrong.equal("the addresses", names(), before);
        let port = |socket: &UdpSocket| socket.local_addr().map_or(0, |own| own.port());
        wrong.holds("one address", reaches(&any, &four, ("127.0.0.1", port(&four))));
        wrong.holds("all addresses", reaches(&four, &any, ("127.0.0.1", port(&any))));
        wrong.holds("IPv6", reaches(&both, &six, ("::1", port(&six))));
        wrong.holds("both, for IPv4", reaches(&four, &both, ("127.0.0.1", port(&both))));
        wrong.holds("both, for IPv6", reaches(&six, &both, ("::1", port(&both))));
        wrong.holds("a connected one", connected.send(b"a word").is_ok() && four.recv(&mut [0; 9]).is_ok());
        wrong.equal("a deaf one", poll(&deaf, libc::POLLRDHUP), libc::POLLRDHUP);
    })
}
