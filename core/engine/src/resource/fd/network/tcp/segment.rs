//! A segment that the kernel is given as if the other end had sent it, tcp(7), raw(7), RFC 9293: the end of a stream that had
//! come before the freeze, which the other end does not send again.

// zoo: no kind

use std::net::{IpAddr, SocketAddr};

use super::super::address::Address;
use crate::kernel::{Answer, inet};

/// FIN and ACK.
const FLAGS: u8 = 0x01 | 0x10;
const TCP: u8 = libc::IPPROTO_TCP as u8;
const HEADER: usize = 20;
/// It has not come through any router, whatever a socket asks for (IP_MINTTL).
const HOPS: u8 = 255;

/// The end of what the other end sends.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Whom it is for.
    pub own: &'a Address,
    /// Who is said to send it.
    pub peer: &'a Address,
    /// Where in the stream.
    pub sequence: u32,
    /// Up to where the other direction was answered.
    pub answered: u32,
    /// What the other end offers, as it stands in a segment.
    pub window: u16,
}

impl End<'_> {
    /// Sends it; packets with this mark are let through.
    pub fn send(&self, mark: u32) -> Answer<()> {
        let (own, bytes) = (self.own.listed(), self.bytes());
        let family = if own.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let socket = inet::open(family, libc::SOCK_RAW, libc::IPPROTO_RAW)?;
        inet::set_option(&socket, libc::SOL_SOCKET, libc::SO_MARK, mark as i32)?;
        inet::send(&socket, &bytes, &self.own.of_family(family).with_port(0).bytes()?).map(drop)
    }

    /// The packet.
    fn bytes(&self) -> Vec<u8> {
        let (own, peer) = (self.own.listed(), self.peer.listed());
        let mut packet = Vec::with_capacity(60);
        match (peer.ip(), own.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                packet.extend([0x45, 0, 0, 2 * HEADER as u8, 0, 0, 0x40, 0, HOPS, TCP, 0, 0]);
                packet.extend(from.octets());
                packet.extend(to.octets());
            }
            (from, to) => {
                packet.extend([0x60, 0, 0, 0, 0, HEADER as u8, TCP, HOPS]);
                packet.extend(octets(from));
                packet.extend(octets(to));
            }
        }
        let mut segment = [0; HEADER];
        segment[..2].copy_from_slice(&peer.port().to_be_bytes());
        segment[2..4].copy_from_slice(&own.port().to_be_bytes());
        segment[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        segment[8..12].copy_from_slice(&self.answered.to_be_bytes());
        segment[12..14].copy_from_slice(&[(HEADER as u8 / 4) << 4, FLAGS]);
        segment[14..16].copy_from_slice(&self.window.to_be_bytes());
        let sum = checksum(peer, own, &segment);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        packet.extend(segment);
        packet
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// Over the addresses, the protocol, the length and the segment.
fn checksum(from: SocketAddr, to: SocketAddr, segment: &[u8]) -> u16 {
    let mut all = octets(from.ip());
    all.extend(octets(to.ip()));
    all.extend([0, TCP]);
    all.extend((segment.len() as u16).to_be_bytes());
    all.extend(segment);
    let sum: u32 = all.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from)).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_is_right_sums_up_to_nothing() {
        for (own, peer) in [("10.0.0.1:80", "192.0.2.7:4321"), ("[fd00::1]:80", "[fd00::2]:4321")] {
            let (Ok(own), Ok(peer)) = (own.parse::<SocketAddr>(), peer.parse::<SocketAddr>()) else { return };
            let family = if own.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
            let (own, peer) = (Address::of_list(own, family), Address::of_list(peer, family));
            let end = End { own: &own, peer: &peer, sequence: 0xfedc_ba98, answered: 7, window: 500 };
            let bytes = end.bytes();
            let segment = &bytes[bytes.len() - HEADER..];
            assert_eq!(checksum(peer.listed(), own.listed(), segment), 0);
            assert_eq!(segment[..4], [0x10, 0xe1, 0, 80]);
            assert_eq!(segment[4..8], 0xfedc_ba98_u32.to_be_bytes());
        }
    }
}
