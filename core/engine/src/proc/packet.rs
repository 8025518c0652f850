//! The packet sockets of a network namespace: `/proc/net/packet`, packet(7).

use super::text::{self, Unreadable};

/// A line of `/proc/net/packet`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PacketLine {
    /// The number of the interface it is bound to; 0 for all.
    pub interface: u32,
    /// The inode number in `socket:[…]`.
    pub inode: u64,
}

/// The value of `/proc/net/packet`.
pub fn parse(bytes: &[u8]) -> Result<Vec<PacketLine>, Unreadable> {
    text::lines(bytes).skip(1).map(|line| read(line).ok_or_else(|| Unreadable::line(line))).collect()
}

/// `SK REFCNT TYPE PROTOCOL INTERFACE RUNNING RMEM USER INODE`
fn read(line: &[u8]) -> Option<PacketLine> {
    let mut words = text::words(line).skip(4);
    Some(PacketLine { interface: text::decimal(words.next()?)?, inode: text::decimal(words.nth(3)?)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_socket_is_read() {
        let lines = b"sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n\
            00000000a7d1bb32 3      3    0003   2     1 0      0      9123  \n";
        assert_eq!(parse(lines), Ok(vec![PacketLine { interface: 2, inode: 9123 }]));
        assert!(parse(b"sk\n00000000a7d1bb32 3      3    0003\n").is_err());
    }

    #[test]
    fn those_of_this_machine_are_read() -> Result<(), crate::proc::ProcError> {
        crate::proc::parsed_system("net/packet", parse).map(drop)
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
