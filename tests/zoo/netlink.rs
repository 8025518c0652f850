//! Netlink sockets: their numbers, the groups they listen to, options; the kernel answers them.

use std::os::fd::{AsRawFd, OwnedFd};

use crate::descriptors::owned;
use crate::kernel::{at, call, into};
use crate::sockets::{get, receive, set};
use crate::stage::{Held, Stage};

/// A socket that is bound to groups, with a number that the kernel chooses.
pub fn netlink(protocol: i32, groups: u32) -> std::io::Result<OwnedFd> {
    let kind = (libc::SOCK_RAW | libc::SOCK_NONBLOCK) as usize;
    let socket = owned(call(libc::SYS_socket, &[libc::AF_NETLINK as usize, kind, protocol as usize])?);
    let address = [libc::AF_NETLINK as u32, 0, groups];
    call(libc::SYS_bind, &[socket.as_raw_fd() as usize, at(&address), 12])?;
    Ok(socket)
}

/// Its number, and the first groups.
fn name(socket: &OwnedFd) -> (u32, u32) {
    let (mut address, mut length) = ([0_u32; 3], 12_u32);
    let asked = call(libc::SYS_getsockname, &[socket.as_raw_fd() as usize, into(&mut address), into(&mut length)]);
    if asked.is_ok() { (address[1], address[2]) } else { (0, 0) }
}

pub fn hold(stage: &mut Stage) -> Held {
    const NETLINK_ADD_MEMBERSHIP: i32 = 1;
    const NETLINK_EXT_ACK: i32 = 11;
    const FAR_GROUP: i32 = 34;
    let route = netlink(libc::NETLINK_ROUTE, 1)?;
    set(&route, libc::SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, FAR_GROUP)?;
    set(&route, libc::SOL_NETLINK, NETLINK_EXT_ACK, 1)?;
    let devices = netlink(libc::NETLINK_KOBJECT_UEVENT, 1)?;
    let second = netlink(libc::NETLINK_ROUTE, 0)?;
    let names = [&route, &devices, &second].map(name);
    stage.keeps(|wrong| {
        wrong.equal("numbers and groups", [&route, &devices, &second].map(name), names);
        wrong.gives("NETLINK_EXT_ACK", get(&route, libc::SOL_NETLINK, NETLINK_EXT_ACK), 1);
        let (mut groups, mut length) = ([0_u32; 4], 16_u32);
        let arguments =
            [route.as_raw_fd() as usize, libc::SOL_NETLINK as usize, 9, into(&mut groups), into(&mut length)];
        let asked = call(libc::SYS_getsockopt, &arguments);
        wrong.gives("a group behind the first 32", asked.map(|_| groups[1] >> 1 & 1), 1);
    })?;
    // RTM_GETLINK for the interface 1: `struct nlmsghdr`, `struct ifinfomsg`.
    let request: [u32; 8] = [32, 0x12 | 1 << 16, 5, 0, 0, 1, 0, 0];
    call(libc::SYS_sendto, &[second.as_raw_fd() as usize, at(&request), 32, 0, 0, 0])?;
    let answer = receive(&second, 0);
    stage.wrong.gives("the kernel's answer", answer.map(|bytes| bytes.get(4).copied()), Some(16));
    Ok(())
}
