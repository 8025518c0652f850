//! Options of a unix socket, socket(7), unix(7).

// zoo: no kind

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::kernel::socket;
use crate::kernel::{Answer, Errno};
use crate::resource::fd::socket_filter::Filter;

/// The options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Options that are numbers and differ from those of a new socket: SO_*, value.
    pub numbers: Vec<(i32, i32)>,
    /// SO_SNDBUF and SO_RCVBUF as they are read: twice what was asked for.
    pub buffers: (i32, i32),
    /// SO_BUF_LOCK: which of them were set by the program (1 sending, 2 receiving).
    pub set_buffers: i32,
    /// SO_SNDTIMEO and SO_RCVTIMEO, `struct timeval`; empty: none.
    pub timeouts: (ByteBuf, ByteBuf),
    /// SO_LINGER, `struct linger`.
    pub linger: ByteBuf,
    /// SO_PEEK_OFF; -1: off.
    pub peek_offset: i32,
    /// What chooses which messages reach it.
    #[serde(default)]
    pub filter: Option<Filter>,
}

const SO_BUF_LOCK: i32 = 72;

/// Numbers that are kept, as Linux numbers them. A kernel that does not know one answers ENOPROTOOPT.
const NUMBERS: [i32; 23] = [
    1,  // SO_DEBUG
    2,  // SO_REUSEADDR
    5,  // SO_DONTROUTE
    6,  // SO_BROADCAST
    9,  // SO_KEEPALIVE
    10, // SO_OOBINLINE
    11, // SO_NO_CHECK
    12, // SO_PRIORITY
    15, // SO_REUSEPORT
    16, // SO_PASSCRED
    18, // SO_RCVLOWAT
    29, // SO_TIMESTAMP
    34, // SO_PASSSEC
    35, // SO_TIMESTAMPNS
    36, // SO_MARK
    37, // SO_TIMESTAMPING
    40, // SO_RXQ_OVFL
    43, // SO_NOFCS
    63, // SO_TIMESTAMP_NEW
    64, // SO_TIMESTAMPNS_NEW
    75, // SO_RCVMARK
    76, // SO_PASSPIDFD
    83, // SO_PASSRIGHTS
];

/// Numbers that change what a message carries on its way in.
pub const STAMPS: [i32; 4] = [29, 35, 63, 64];

/// Numbers that must stand before messages come.
const EARLY: [i32; 5] = [29, 35, 37, 63, 64];

impl Options {
    /// Those of a socket that differ from those of a new one.
    pub fn capture(file: &impl std::os::fd::AsFd, kind: i32) -> Answer<Self> {
        let fresh = socket::unix(kind)?;
        let mut numbers = Vec::new();
        for option in NUMBERS {
            match (socket::option(file, option), socket::option(&fresh, option)) {
                (Ok(value), Ok(usual)) if value != usual => numbers.push((option, value)),
                (Ok(_) | Err(Errno::ENOPROTOOPT | Errno::EOPNOTSUPP | Errno::EINVAL | Errno::EPERM), _) => {}
                (Err(error), _) => return Err(error),
            }
        }
        let bytes = |option| -> Answer<ByteBuf> {
            let value = socket::option_bytes(file, option, 16)?;
            let usual = socket::option_bytes(&fresh, option, 16)?;
            Ok(ByteBuf::from(if value == usual { Vec::new() } else { value }))
        };
        Ok(Self {
            numbers,
            buffers: (socket::option(file, libc::SO_SNDBUF)?, socket::option(file, libc::SO_RCVBUF)?),
            set_buffers: socket::option(file, SO_BUF_LOCK).unwrap_or(0),
            timeouts: (bytes(libc::SO_SNDTIMEO)?, bytes(libc::SO_RCVTIMEO)?),
            linger: bytes(libc::SO_LINGER)?,
            peek_offset: socket::option(file, libc::SO_PEEK_OFF)?,
            filter: Filter::capture(file)?,
        })
    }

    /// Whether one of these is on.
    pub fn any(&self, options: &[i32]) -> bool {
        self.numbers.iter().any(|(option, value)| *value != 0 && options.contains(option))
    }

    /// Whether the image names only options that are kept.
    pub fn are_known(&self) -> bool {
        self.numbers.iter().all(|(option, _)| NUMBERS.contains(option))
    }

    /// Makes a socket ready to send and take what was queued, whatever its limits are to be.
    pub fn prepare(&self, made: &OwnedFd) -> Answer<()> {
        const AMPLE: i32 = 1 << 29;
        let forced = socket::set_option(made, libc::SO_SNDBUFFORCE, AMPLE);
        forced.or_else(|_| socket::set_option(made, libc::SO_SNDBUF, AMPLE))?;
        self.set(made, |option| EARLY.contains(&option))
    }

    /// Gives a socket its options, once nothing more is sent through it by the engine.
    pub fn restore(&self, made: &OwnedFd) -> Answer<()> {
        self.set(made, |option| !EARLY.contains(&option))?;
        let buffers = [
            (libc::SO_SNDBUF, libc::SO_SNDBUFFORCE, self.buffers.0),
            (libc::SO_RCVBUF, libc::SO_RCVBUFFORCE, self.buffers.1),
        ];
        for (option, force, value) in buffers {
            if socket::option(made, option)? != value {
                let forced = socket::set_option(made, force, value / 2);
                forced.or_else(|_| socket::set_option(made, option, value / 2))?;
            }
        }
        // Since Linux 5.14.
        let _ = socket::set_option(made, SO_BUF_LOCK, self.set_buffers & 3);
        let (sending, receiving) = (libc::SO_SNDTIMEO, libc::SO_RCVTIMEO);
        let bytes = [(sending, &self.timeouts.0), (receiving, &self.timeouts.1), (libc::SO_LINGER, &self.linger)];
        for (option, value) in bytes.into_iter().filter(|(_, value)| !value.is_empty()) {
            socket::set_option_bytes(made, option, value)?;
        }
        if self.peek_offset >= 0 {
            socket::set_option(made, libc::SO_PEEK_OFF, self.peek_offset)?;
        }
        self.filter.as_ref().map_or(Ok(()), |filter| filter.restore(made))
    }

    fn set(&self, made: &OwnedFd, which: impl Fn(i32) -> bool) -> Answer<()> {
        for (option, value) in self.numbers.iter().filter(|(option, _)| NUMBERS.contains(option) && which(*option)) {
            socket::set_option(made, *option, *value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_back() -> Result<(), Errno> {
        let before = socket::unix(libc::SOCK_STREAM)?;
        for (option, value) in [(16, 1), (29, 1), (18, 7), (9, 1), (34, 1)] {
            socket::set_option(&before, option, value)?;
        }
        for (option, value) in [(libc::SO_SNDBUF, 30_000), (libc::SO_RCVBUF, 40_000), (libc::SO_PEEK_OFF, 5)] {
            socket::set_option(&before, option, value)?;
        }
        let time: Vec<u8> = [7_u64, 250_000].iter().flat_map(|word| word.to_ne_bytes()).collect();
        socket::set_option_bytes(&before, libc::SO_RCVTIMEO, &time)?;
        let options = Options::capture(&before, libc::SOCK_STREAM)?;
        let after = socket::unix(libc::SOCK_STREAM)?;
        options.prepare(&after)?;
        options.restore(&after)?;
        assert_eq!(Options::capture(&after, libc::SOCK_STREAM)?, options);
        assert!(options.any(&STAMPS) && options.are_known());
        Ok(())
    }
}
