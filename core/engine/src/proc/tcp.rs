//! The internet sockets of a network namespace: `/proc/net/tcp` and `/proc/net/tcp6`, proc_pid_net(5), and those of UDP, ICMP
//! and raw sockets, which have the same columns.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::text::{self, Unreadable};

/// A line of `/proc/net/tcp`. Of a raw socket the port of its own address is the number of its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TcpLine {
    /// This end.
    pub local: SocketAddr,
    /// The other end; all zeros for one that listens.
    pub remote: SocketAddr,
    /// `TCP_*` of include/net/tcp_states.h: 1 established, 7 closed (or bound, where nobody connects), 10 listening.
    pub state: u8,
    /// How many bytes wait to be read; for one that listens, how many connections wait to be accepted.
    pub received: u32,
    /// The inode number in `socket:[…]`; 0 where no process holds it any more.
    pub inode: u64,
}

impl TcpLine {
    /// Whether it listens.
    pub fn listens(&self) -> bool {
        self.state == 10
    }
}

/// The value of `/proc/net/tcp` or `/proc/net/tcp6`.
pub fn parse(bytes: &[u8]) -> Result<Vec<TcpLine>, Unreadable> {
    text::lines(bytes).skip(1).map(|line| read(line).ok_or_else(|| Unreadable::line(line))).collect()
}

/// `SL: LOCAL REMOTE STATE TX:RX TR:WHEN RETRANSMITS UID TIMEOUT INODE …`
fn read(line: &[u8]) -> Option<TcpLine> {
    let mut words = text::words(line).skip(1);
    let (local, remote) = (address(words.next()?)?, address(words.next()?)?);
    let state = u8::from_str_radix(std::str::from_utf8(words.next()?).ok()?, 16).ok()?;
    let (_, received) = std::str::from_utf8(words.next()?).ok()?.split_once(':')?;
    let received = u32::from_str_radix(received, 16).ok()?;
    let inode = text::decimal(words.nth(4)?)?;
    Some(TcpLine { local, remote, state, received, inode })
}

/// `ADDRESS:PORT` in hexadecimal digits, each four bytes of the address in the order of the machine.
fn address(word: &[u8]) -> Option<SocketAddr> {
    let (address, port) = std::str::from_utf8(word).ok()?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let group = |at: usize| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let address: IpAddr = match address.len() {
        8 => Ipv4Addr::from(group(0)?).into(),
        32 => {
            let groups = [group(0)?, group(1)?, group(2)?, group(3)?];
            let bytes: [u8; 16] = groups.concat().try_into().ok()?;
            // An IPv4 connection of a socket for both.
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_ends_of_a_connection_are_found() -> Result<(), Box<dyn std::error::Error>> {
        for (host, file) in [("127.0.0.1:0", "net/tcp"), ("[::1]:0", "net/tcp6")] {
            let listener = TcpListener::bind(host)?;
            let client = TcpStream::connect(listener.local_addr()?)?;
            let (server, _) = listener.accept()?;
            let lines = crate::proc::parsed_system(file, parse)?;
            let of = |local: SocketAddr| lines.iter().find(|line| line.local == local && !line.listens()).copied();
            let one = of(client.local_addr()?).ok_or("the client is not listed")?;
            let other = of(server.local_addr()?).ok_or("the server is not listed")?;
            assert_eq!((one.remote, other.remote), (other.local, one.local));
            assert!(
                lines.iter().any(|line| line.listens() && line.local == listener.local_addr().unwrap_or(one.local))
            );
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = (parse(&bytes), read(&bytes), address(&bytes));
        }
    }
}
