//! The packet sockets of a network namespace, as sock_diag(7) tells of them (NETLINK_SOCK_DIAG, `packet_diag`): it knows what no option of
//! theirs tells. CONFIG_PACKET_DIAG.

use super::message::{attributes, half, word};
use super::{Answer, netlink};

/// What a packet socket hears beside what is sent to this machine, PACKET_ADD_MEMBERSHIP of packet(7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The number of the interface.
    pub interface: u32,
    /// PACKET_MR_MULTICAST, PACKET_MR_PROMISC, PACKET_MR_ALLMULTI or PACKET_MR_UNICAST.
    pub kind: u16,
    /// The address on the link.
    pub address: Vec<u8>,
    /// How often it was asked for.
    pub count: u32,
}

/// What cannot be asked of a packet socket itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// What it hears beside, the last one first.
    pub memberships: Vec<Membership>,
    /// PACKET_COPY_THRESH.
    pub copy_threshold: u32,
    /// The number of its group, how its traffic is shared and how it is told, as PACKET_FANOUT has it.
    pub fanout: Option<u32>,
    /// It has a ring of memory for what comes or for what goes, PACKET_RX_RING, PACKET_TX_RING.
    pub has_ring: bool,
}

const SHOW: u32 = 0x01 | 0x02 | 0x04 | 0x08; // PACKET_SHOW_INFO, MCLIST, RING_CFG, FANOUT
/// `struct packet_diag_msg`, `struct packet_diag_mclist`, and the longest address in one.
const MESSAGE: usize = 16;
const MEMBERSHIP: usize = 44;
const LONGEST: usize = 32;

/// The packet socket of this inode, none where there is none.
pub fn look(inode: u64) -> Answer<Option<Packet>> {
    // `struct packet_diag_req`.
    let mut request = vec![libc::AF_PACKET as u8, 0, 0, 0];
    for word in [0, SHOW, u32::MAX, u32::MAX] {
        request.extend(word.to_ne_bytes());
    }
    let mut found = None;
    netlink::dump(&request, &mut |message| {
        if word(message, 4).map(u64::from) == Some(inode) {
            found = message.get(MESSAGE..).map(packet);
        }
    })?;
    Ok(found)
}

fn packet(bytes: &[u8]) -> Packet {
    let mut found = Packet::default();
    for (kind, value) in attributes(bytes) {
        match kind {
            // `struct packet_diag_info`.
            0 => found.copy_threshold = word(value, 12).unwrap_or(0),
            1 => found.memberships = value.chunks_exact(MEMBERSHIP).filter_map(membership).collect(),
            2 | 3 => found.has_ring = true,
            4 => found.fanout = word(value, 0),
            _ => {}
        }
    }
    found
}

fn membership(bytes: &[u8]) -> Option<Membership> {
    let length = usize::from(half(bytes, 10)?).min(LONGEST);
    Some(Membership {
        count: word(bytes, 4)?,
        interface: word(bytes, 0)?,
        kind: half(bytes, 8)?,
        address: bytes.get(12..12 + length)?.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = packet(&bytes);
        }
    }
}
