//! The unix sockets of a network namespace: `/proc/PID/net/unix`, proc_pid_net(5).
//!
//! For a survey only. The kernel does not escape paths, so a program can bind a path with a line feed in it and make
//! lines of its own; and it does not say who is connected to whom. sock_diag(7) answers both.

use serde::{Deserialize, Serialize};

use super::text::{self, Unreadable};

/// A unix socket as `/proc/net/unix` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UnixSocketLine {
    /// How many references the kernel holds, one of them its own.
    pub references: u32,
    /// `SO_ACCEPTCON`, 0x10000: it listens.
    pub flags: u32,
    /// `SOCK_STREAM`, `SOCK_DGRAM` or `SOCK_SEQPACKET`.
    pub kind: u32,
    /// 1 unconnected, 2 connecting, 3 connected, 4 disconnecting: include/uapi/linux/net.h.
    pub state: u32,
    /// The inode number in `socket:[…]`; 0 while it waits to be accepted.
    pub inode: u64,
    /// Where it is bound.
    pub address: UnixAddress,
}

/// Where a unix socket is bound, unix(7).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UnixAddress {
    /// Nowhere.
    Unnamed,
    /// At a path, as it was given to bind(2): it may be relative, and may have gone since.
    Path(#[serde(with = "serde_bytes")] Vec<u8>),
    /// At an abstract name, without the NUL before it. The kernel shows each further NUL in it as `@`. A relative path
    /// that begins with `@` looks the same.
    Abstract(#[serde(with = "serde_bytes")] Vec<u8>),
}

/// `SO_ACCEPTCON` as `/proc/net/unix` has it: `__SO_ACCEPTCON` of include/uapi/linux/net.h.
const LISTENS: u32 = 0x10000;

impl UnixSocketLine {
    /// Whether it listens for connections.
    pub fn listens(&self) -> bool {
        self.flags & LISTENS != 0
    }
}

/// The value of `/proc/PID/net/unix`. A line that is none belongs to the path before it.
pub fn parse(bytes: &[u8]) -> Result<Vec<UnixSocketLine>, Unreadable> {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut lines = body.split(|byte| *byte == b'\n');
    let header = lines.next().unwrap_or_default();
    if !header.starts_with(b"Num") {
        return Err(Unreadable::line(header));
    }
    let mut sockets: Vec<UnixSocketLine> = Vec::new();
    for line in lines {
        match (socket(line), sockets.last_mut().map(|socket| &mut socket.address)) {
            (Some(socket), _) => sockets.push(socket),
            (None, Some(UnixAddress::Path(path) | UnixAddress::Abstract(path))) => {
                path.push(b'\n');
                path.extend_from_slice(line);
            }
            (None, _) => return Err(Unreadable::line(line)),
        }
    }
    Ok(sockets)
}

/// `NUM: REFCOUNT PROTOCOL FLAGS TYPE STATE INODE [PATH]`
fn socket(line: &[u8]) -> Option<UnixSocketLine> {
    let mut rest = line;
    text::take_word(&mut rest)?.strip_suffix(b":")?;
    let mut field = || text::hexadecimal(text::take_word(&mut rest)?)?.try_into().ok();
    let (references, _protocol, flags, kind, state): (_, u32, _, _, _) =
        (field()?, field()?, field()?, field()?, field()?);
    let inode = text::decimal(text::take_word(&mut rest)?)?;
    let address = match rest.strip_prefix(b" ") {
        None => UnixAddress::Unnamed,
        Some(path) => match path.strip_prefix(b"@") {
            Some(name) => UnixAddress::Abstract(name.to_vec()),
            None => UnixAddress::Path(path.to_vec()),
        },
    };
    Some(UnixSocketLine { references, flags, kind, state, inode, address })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::{self, ProcError};

    const HEADER: &[u8] = b"Num       RefCount Protocol Flags    Type St Inode Path\n";

    fn of(lines: &[u8]) -> Result<Vec<UnixSocketLine>, Unreadable> {
        parse(&[HEADER, lines].concat())
    }

    #[test]
    fn sockets_with_and_without_a_name_are_read() -> Result<(), Unreadable> {
        let sockets = of(b"00000000bc2fb3c9: 00000003 00000000 00000000 0001 03  1057\n\
            0000000000000000: 00000002 00000000 00010000 0005 01 123456 /run/a b\xff\n\
            0000000000000000: 00000002 00000000 00000000 0002 01     0 @x@y\n")?;
        assert_eq!((sockets[0].inode, sockets[0].state, sockets[0].listens()), (1057, 3, false));
        assert_eq!(sockets[0].address, UnixAddress::Unnamed);
        assert_eq!((sockets[1].kind, sockets[1].listens()), (5, true));
        assert_eq!(sockets[1].address, UnixAddress::Path(b"/run/a b\xff".to_vec()));
        assert_eq!((sockets[2].references, sockets[2].address.clone()), (2, UnixAddress::Abstract(b"x@y".to_vec())));
        Ok(())
    }

    #[test]
    fn a_path_with_line_feeds_stays_whole() -> Result<(), Unreadable> {
        let sockets =
            of(b"0: 00000002 00000000 00000000 0001 01 7 /a\n\nb\n0: 00000002 00000000 00000000 0001 01 8\n")?;
        assert_eq!(sockets.len(), 2);
        assert_eq!(sockets[0].address, UnixAddress::Path(b"/a\n\nb".to_vec()));
        assert!(of(b"nothing\n").is_err());
        Ok(())
    }

    #[test]
    fn the_sockets_of_this_system_can_be_read() -> Result<(), ProcError> {
        match proc::parsed(dormouse_wire::Pid(std::process::id() as i32), "net/unix", parse) {
            Err(ProcError::Missing { .. }) => Ok(()),
            sockets => sockets.map(drop),
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "[0-9a-f:@/ \n]{0,200}") {
            let _ = (parse(&bytes), of(&bytes), of(text.as_bytes()));
        }
    }
}
