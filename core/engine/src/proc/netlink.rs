//! The netlink sockets of a network namespace: `/proc/net/netlink`, netlink(7).

use super::text::{self, Unreadable};

/// A line of `/proc/net/netlink`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NetlinkLine {
    /// The part of the kernel it talks to, `NETLINK_*`.
    pub protocol: u32,
    /// The inode number in `socket:[…]`; one of the kernel's own that no process has is listed too.
    pub inode: u64,
}

/// The value of `/proc/net/netlink`.
pub fn parse(bytes: &[u8]) -> Result<Vec<NetlinkLine>, Unreadable> {
    text::lines(bytes).skip(1).map(|line| read(line).ok_or_else(|| Unreadable::line(line))).collect()
}

/// `SK PROTOCOL PORT GROUPS RMEM WMEM DUMP LOCKS DROPS INODE`
fn read(line: &[u8]) -> Option<NetlinkLine> {
    let mut words = text::words(line).skip(1);
    Some(NetlinkLine { protocol: text::decimal(words.next()?)?, inode: text::decimal(words.nth(7)?)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_socket_is_read() {
        let lines = b"sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n\
            0000000045209bdc 15  812        00000001 0        0        0     2        0        474     \n";
        assert_eq!(parse(lines), Ok(vec![NetlinkLine { protocol: 15, inode: 474 }]));
        assert!(parse(b"sk\n0000000045209bdc 15  812\n").is_err());
    }

    #[test]
    fn those_of_this_machine_are_read() -> Result<(), crate::proc::ProcError> {
        crate::proc::parsed_system("net/netlink", parse).map(drop)
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
