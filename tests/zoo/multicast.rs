//! UDP sockets that listen to groups, of IPv4 and IPv6, with senders that are wanted or not.

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use crate::kernel::{at, call};
use crate::stage::{Held, Stage, cannot};

fn hears(sender: &UdpSocket, receiver: &UdpSocket, group: &str, port: u16) -> bool {
    let mut bytes = [0; 9];
    sender.send_to(b"to all", (group, port)).is_ok()
        && receiver.recv(&mut bytes).is_ok_and(|length| &bytes[..length] == b"to all")
}

/// `struct ip_mreq_source`.
fn source(socket: &UdpSocket, option: i32, group: [u8; 4], sender: [u8; 4]) -> std::io::Result<i64> {
    let request = [group, [127, 0, 0, 1], sender].concat();
    let arguments =
        [socket.as_raw_fd() as usize, libc::IPPROTO_IP as usize, option as usize, at(request.as_slice()), 12];
    call(libc::SYS_setsockopt, &arguments)
}

pub fn hold(stage: &mut Stage) -> Held {
    let receiver = UdpSocket::bind("0.0.0.0:0")?;
    receiver.set_read_timeout(Some(Duration::from_millis(300)))?;
    // Otherwise it hears the groups of everybody on this machine.
    const IP_MULTICAST_ALL: i32 = 49;
    crate::sockets::set(&receiver, libc::IPPROTO_IP, IP_MULTICAST_ALL, 0)?;
    let port = receiver.local_addr()?.port();
    let lo = Ipv4Addr::LOCALHOST;
    receiver.join_multicast_v4(&Ipv4Addr::new(239, 7, 7, 1), &lo)?;
    source(&receiver, libc::IP_ADD_SOURCE_MEMBERSHIP, [239, 7, 7, 2], [127, 0, 0, 1])?;
    source(&receiver, libc::IP_ADD_SOURCE_MEMBERSHIP, [239, 7, 7, 3], [127, 0, 0, 99])?;
    let six = UdpSocket::bind("[::]:0")?;
    six.set_read_timeout(Some(Duration::from_millis(300)))?;
    six.join_multicast_v6(&Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 0x77), 1)?;
    let sender = UdpSocket::bind("127.0.0.1:0")?;
    if !hears(&sender, &receiver, "239.7.7.1", port) {
        return cannot("no group can be reached on the loopback interface");
    }
    stage.keeps(|wrong| {
        wrong.holds("a group", hears(&sender, &receiver, "239.7.7.1", port));
        wrong.holds("a group and its sender", hears(&sender, &receiver, "239.7.7.2", port));
        wrong.holds("a group and no sender of it", !hears(&sender, &receiver, "239.7.7.3", port));
    })?;
    let left = receiver.leave_multicast_v4(&Ipv4Addr::new(239, 7, 7, 1), &lo);
    stage.wrong.holds("a group can be left", left.is_ok());
    stage.wrong.holds("then it is silent", !hears(&sender, &receiver, "239.7.7.1", port));
    let left = six.leave_multicast_v6(&Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 0x77), 1);
    stage.wrong.holds("one of IPv6 too", left.is_ok());
    Ok(())
}
