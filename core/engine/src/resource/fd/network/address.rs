//! Addresses in the network: `struct sockaddr_in` and `struct sockaddr_in6`, ip(7), ipv6(7).

// zoo: no kind

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::kernel::{Answer, Errno, inet, socket};

/// An address with its port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// 4 bytes, or 16 for IPv6.
    pub ip: ByteBuf,
    /// The port; for ICMP the identifier.
    pub port: u16,
    /// The interface that an address of its link alone belongs to, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

impl Address {
    /// From `struct sockaddr`.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
        let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
        match i32::from(family) {
            libc::AF_INET => Some(Self { ip: ByteBuf::from(bytes.get(4..8)?), port, interface: None }),
            libc::AF_INET6 => {
                let scope = u32::from_ne_bytes(bytes.get(24..28)?.try_into().ok()?);
                let interface = if scope == 0 { None } else { Some(name_of(scope)?) };
                Some(Self { ip: ByteBuf::from(bytes.get(8..24)?), port, interface })
            }
            _ => None,
        }
    }

    /// A socket's own; none: it has none.
    pub fn own(socket: &impl std::os::fd::AsFd) -> Option<Self> {
        let own = Self::of(&socket::own_address(socket).ok()?)?;
        (own.port != 0 || !own.is_any()).then_some(own)
    }

    /// That of a socket's peer.
    pub fn peer(socket: &impl std::os::fd::AsFd) -> Option<Self> {
        Self::of(&socket::peer_address(socket).ok()?)
    }

    /// One that the kernel lists, for a socket of this family.
    pub fn of_list(listed: SocketAddr, family: i32) -> Self {
        let ip = match listed.ip() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        Self { ip: ByteBuf::from(ip), port: listed.port(), interface: None }.of_family(family)
    }

    /// The same with another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self { port, ..self.clone() }
    }

    /// `struct sockaddr`. ENODEV: there is no such interface here.
    pub fn bytes(&self) -> Answer<Vec<u8>> {
        let family = if self.ip.len() == 4 { libc::AF_INET } else { libc::AF_INET6 };
        let mut bytes = (family as u16).to_ne_bytes().to_vec();
        bytes.extend(self.port.to_be_bytes());
        match self.ip.len() {
            4 => {
                bytes.extend_from_slice(&self.ip);
                bytes.extend([0; 8]);
            }
            16 => {
                let scope = self.interface.as_deref().map(number_of).transpose()?.unwrap_or(0);
                bytes.extend([0; 4]);
                bytes.extend_from_slice(&self.ip);
                bytes.extend(scope.to_ne_bytes());
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(bytes)
    }

    fn ip(&self) -> IpAddr {
        match <[u8; 4]>::try_from(self.ip.as_slice()) {
            Ok(four) => Ipv4Addr::from(four).into(),
            Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(self.ip.as_slice()).unwrap_or_default()).into(),
        }
    }

    /// All zeros: every address of the machine.
    pub fn is_any(&self) -> bool {
        self.ip.iter().all(|byte| *byte == 0)
    }

    /// Of many machines at once.
    pub fn is_multicast(&self) -> bool {
        self.ip().to_canonical().is_multicast()
    }

    /// As the kernel lists it: an IPv4 address within IPv6 is one of IPv4.
    pub fn listed(&self) -> SocketAddr {
        SocketAddr::new(self.ip().to_canonical(), self.port)
    }

    /// The address of this machine to itself, of the same family.
    #[must_use]
    pub fn loopback(&self) -> Self {
        let ip = match self.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.octets().to_vec(),
            IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets().to_vec(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.octets().to_vec(),
        };
        Self { ip: ByteBuf::from(ip), port: self.port, interface: None }
    }

    /// The same for a socket of this family: one for IPv6 has IPv4 addresses within its own.
    #[must_use]
    pub fn of_family(&self, family: i32) -> Self {
        let ip = match (self.ip(), family) {
            (IpAddr::V4(ip), libc::AF_INET6) => ip.to_ipv6_mapped().octets().to_vec(),
            (IpAddr::V6(ip), libc::AF_INET) => match ip.to_ipv4_mapped() {
                Some(ip) => ip.octets().to_vec(),
                None => return self.clone(),
            },
            _ => return self.clone(),
        };
        Self { ip: ByteBuf::from(ip), ..self.clone() }
    }

    /// Whether it can be one of this family.
    pub fn fits(&self, family: i32) -> bool {
        self.ip.len() == if family == libc::AF_INET { 4 } else { 16 }
    }

    /// For a person.
    pub fn shown(&self) -> String {
        match (self.listed(), &self.interface) {
            (SocketAddr::V6(six), Some(interface)) => {
                let interface: String = interface.chars().flat_map(char::escape_debug).collect();
                format!("[{}%{interface}]:{}", six.ip(), six.port())
            }
            (address, _) => address.to_string(),
        }
    }
}

/// The interface of this number.
pub fn name_of(number: u32) -> Option<String> {
    inet::device_name(number).ok()
}

/// The number of this interface. ENODEV: there is none of this name.
pub fn number_of(name: &str) -> Answer<u32> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(Errno::ENODEV);
    }
    inet::device_number(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_were() -> Result<(), Box<dyn std::error::Error>> {
        for own in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let listener = std::net::TcpListener::bind(own)?;
            let bytes = socket::own_address(&listener)?;
            let address = Address::of(&bytes).ok_or("no address")?;
            assert_eq!(address.bytes()?[..8], bytes[..8]);
            assert_eq!(Address::of(&address.bytes()?), Some(address.clone()));
            assert_eq!(address.shown(), listener.local_addr()?.to_string());
        }
        Ok(())
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for length in 0..30 {
            for family in [libc::AF_INET, libc::AF_INET6, 0] {
                let mut bytes = vec![1; length];
                bytes.iter_mut().zip((family as u16).to_ne_bytes()).for_each(|(place, byte)| *place = byte);
                let _ = Address::of(&bytes);
            }
            let address = Address { ip: ByteBuf::from(vec![7; length]), port: 1, interface: Some("..".into()) };
            let _ = (address.bytes(), address.shown(), address.loopback());
        }
        assert_eq!(number_of("../net/lo"), Err(Errno::ENODEV));
    }
}
