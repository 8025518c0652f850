//! The groups that a socket listens to, ip(7), ipv6(7). The kernel tells the groups of an interface; whether a socket is in
//! one, it says when it is asked for the senders that are wanted there, MCAST_MSFILTER.

// zoo: no kind

use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::address::{Address, name_of, number_of};
use crate::kernel::{Answer, Errno, inet};
use crate::proc::{self, multicast};

/// A group that a socket listens to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Its address: 4 bytes, or 16.
    group: ByteBuf,
    /// The interface, by name.
    interface: String,
    /// The senders below are those that are wanted, and not those that are unwanted.
    only: bool,
    /// Senders, as addresses of the same length.
    senders: Vec<ByteBuf>,
}

// linux/in.h
const MCAST_JOIN_GROUP: i32 = 42;
const MCAST_JOIN_SOURCE_GROUP: i32 = 46;
const MCAST_MSFILTER: i32 = 48;
const INCLUDE: u32 = 1;
/// `struct sockaddr_storage`.
const STORAGE: usize = 128;
/// Where the list of `struct group_filter` begins.
const LIST: usize = 8 + STORAGE + 8;
/// More senders than a socket can name, sysctl igmp_max_msf and mld_max_msf.
const MOST: usize = 512;

/// All groups of a socket of this family.
pub fn capture(socket: &impl AsFd, family: i32) -> Answer<Vec<Membership>> {
    let four = proc::parsed_system("net/igmp", multicast::parse).unwrap_or_default();
    let mut places: Vec<(u32, Vec<u8>)> = four.iter().map(|line| (line.interface, line.group.to_vec())).collect();
    if family == libc::AF_INET6 {
        let six = proc::parsed_system("net/igmp6", multicast::parse_six).unwrap_or_default();
        places.extend(six.iter().map(|line| (line.interface, line.group.to_vec())));
    }
    places.sort();
    places.dedup();
    places.iter().filter_map(|(interface, group)| membership(socket, *interface, group).transpose()).collect()
}

fn membership(socket: &impl AsFd, interface: u32, group: &[u8]) -> Answer<Option<Membership>> {
    let mut asked = start(interface, group)?;
    asked.extend(0_u32.to_ne_bytes());
    asked.extend((MOST as u32).to_ne_bytes());
    let found = match inet::option_bytes(socket, level(group), MCAST_MSFILTER, &asked, LIST + MOST * STORAGE) {
        Ok(found) => found,
        // It is not in this group.
        Err(Errno::EADDRNOTAVAIL | Errno::ENODEV | Errno::ENOPROTOOPT | Errno::EINVAL) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let word = |at: usize| found.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_ne_bytes);
    let (Some(mode), Some(count)) = (word(LIST - 8), word(LIST - 4)) else { return Err(Errno::EINVAL) };
    let sender = |at: usize| Some(Address::of(found.get(LIST + at * STORAGE..)?)?.ip);
    let senders = (0..(count as usize).min(MOST)).map(|at| sender(at).ok_or(Errno::EINVAL)).collect::<Answer<_>>()?;
    let interface = name_of(interface).ok_or(Errno::ENODEV)?;
    Ok(Some(Membership { group: ByteBuf::from(group), interface, only: mode == INCLUDE, senders }))
}

fn level(group: &[u8]) -> i32 {
    if group.len() == 4 { libc::IPPROTO_IP } else { libc::IPPROTO_IPV6 }
}

fn storage(ip: &[u8]) -> Answer<Vec<u8>> {
    let mut bytes = Address { ip: ByteBuf::from(ip), port: 0, interface: None }.bytes()?;
    bytes.resize(STORAGE, 0);
    Ok(bytes)
}

/// What `struct group_req`, `struct group_source_req` and `struct group_filter` begin with.
fn start(interface: u32, group: &[u8]) -> Answer<Vec<u8>> {
    let mut bytes = interface.to_ne_bytes().to_vec();
    bytes.extend([0; 4]);
    bytes.extend(storage(group)?);
    Ok(bytes)
}

impl Membership {
    /// The interface it is on.
    pub fn is_possible(&self) -> bool {
        number_of(&self.interface).is_ok()
    }

    /// For a person.
    pub fn shown(&self) -> String {
        let group = Address { ip: self.group.clone(), port: 0, interface: None };
        format!("{} on {}", group.listed().ip(), self.interface.escape_debug())
    }

    /// Joins it again.
    pub fn restore(&self, socket: &impl AsFd) -> Answer<()> {
        let start = start(number_of(&self.interface)?, &self.group)?;
        let level = level(&self.group);
        if self.only {
            return self.senders.iter().try_for_each(|sender| {
                let bytes = [start.clone(), storage(sender)?].concat();
                inet::set_option_bytes(socket, level, MCAST_JOIN_SOURCE_GROUP, &bytes)
            });
        }
        inet::set_option_bytes(socket, level, MCAST_JOIN_GROUP, &start)?;
        if self.senders.is_empty() {
            return Ok(());
        }
        let mut bytes = start;
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend((self.senders.len() as u32).to_ne_bytes());
        for sender in &self.senders {
            bytes.extend(storage(sender)?);
        }
        inet::set_option_bytes(socket, level, MCAST_MSFILTER, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_back_with_their_senders() -> Result<(), Errno> {
        let new = || inet::open(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDP);
        let socket = new()?;
        assert_eq!(capture(&socket, libc::AF_INET)?, []);
        let group = |last: u8, only, senders: &[[u8; 4]]| Membership {
            group: ByteBuf::from(vec![239, 1, 2, last]),
            interface: "lo".to_owned(),
            only,
            senders: senders.iter().map(ByteBuf::from).collect(),
        };
        let groups =
            [group(3, false, &[]), group(4, false, &[[10, 0, 0, 1]]), group(5, true, &[[10, 0, 0, 2], [10, 0, 0, 3]])];
        for group in &groups {
            group.restore(&socket)?;
        }
        assert_eq!(capture(&socket, libc::AF_INET)?, groups);
        Ok(())
    }
}
