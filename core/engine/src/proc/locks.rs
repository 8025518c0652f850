//! Locks on files: `/proc/locks`, proc_locks(5), and the `lock:` lines of `/proc/PID/fdinfo/FD`, proc_pid_fdinfo(5).
//!
//! `fdinfo` shows the locks that were taken through one descriptor of one process; `/proc/locks` shows those of the whole
//! system and who waits for them, but names the file by device and inode number only.

use dormouse_wire::Pid;
use serde::{Deserialize, Serialize};

use super::text::{self, Unreadable};

/// A lock on a file, or somebody who waits for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The number of the line; a waiter has the number of the lock it waits for.
    pub number: u64,
    /// `->`: does not hold the lock, but waits for it.
    pub waits: bool,
    /// Whose the lock is and how it was taken.
    pub kind: LockKind,
    /// What the third column says.
    pub state: LockState,
    /// For reading or for writing.
    pub access: LockAccess,
    /// Who took it. `None` for an open-file-description lock, which has no owner (-1), and for an owner outside this pid
    /// namespace (0).
    pub pid: Option<Pid>,
    /// The file; `None` where the kernel has no inode for it (`<none>:0`).
    pub file: Option<LockedFile>,
    /// The first byte it covers.
    pub start: u64,
    /// The last byte it covers; `None` for `EOF`: to the end of the file, however long it grows.
    pub end: Option<u64>,
}

/// The file of a [`Lock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LockedFile {
    /// Major and minor number of the device of its superblock.
    pub device: (u32, u32),
    /// Its inode number.
    pub inode: u64,
}

/// Whose a lock is and how it was taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LockKind {
    /// flock(2): belongs to the open file description.
    Flock,
    /// `F_SETLK`, fcntl_locking(2): belongs to the process.
    Posix,
    /// `F_OFD_SETLK`: belongs to the open file description.
    OpenFileDescription,
    /// `F_SETLEASE`.
    Lease,
    /// A delegation of a network file server.
    Delegation,
    /// A layout of a network file server.
    Layout,
    /// A mandatory lock's access check.
    Access,
    /// A kind that this version does not know.
    Other(String),
}

/// What the third column says: of a lock how binding it is, of a lease what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LockState {
    /// Binds those who ask.
    Advisory,
    /// Binds everyone (before 5.15).
    Mandatory,
    /// A lease that holds.
    Active,
    /// A lease whose holder has been told to let go.
    Breaking,
    /// Somebody who breaks a lease.
    Breaker,
    /// A POSIX lock without an inode.
    NoInode,
    /// A state that this version does not know.
    Other(String),
}

/// What a lock is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LockAccess {
    /// Shared.
    Read,
    /// Exclusive.
    Write,
    /// A lease on its way out.
    Unlock,
    /// A word that this version does not know.
    Other(String),
}

/// The value of `/proc/locks`.
pub fn parse(bytes: &[u8]) -> Result<Vec<Lock>, Unreadable> {
    text::lines(bytes).map(parse_line).collect()
}

/// One line, without the `lock:` that stands before it in `fdinfo`.
pub fn parse_line(line: &[u8]) -> Result<Lock, Unreadable> {
    lock(line).ok_or_else(|| Unreadable::line(line))
}

/// `NUMBER: [->] KIND STATE ACCESS PID MAJOR:MINOR:INODE START END`
fn lock(line: &[u8]) -> Option<Lock> {
    let (number, rest) = text::split_once(line, b':')?;
    let mut words = text::words(rest).peekable();
    let waits = words.next_if(|word| *word == b"->").is_some();
    let kind = kind(words.next()?);
    let state = state(words.next()?);
    let access = access(words.next()?);
    let pid: i32 = text::decimal(words.next()?)?;
    let file = match words.next()? {
        word if word.starts_with(b"<none>") => None,
        word => Some(locked_file(word)?),
    };
    let start = text::decimal(words.next()?)?;
    let end = match words.next()? {
        b"EOF" => None,
        end => Some(text::decimal(end)?),
    };
    Some(Lock {
        number: text::decimal(number.trim_ascii())?,
        waits,
        kind,
        state,
        access,
        pid: (pid > 0).then_some(Pid(pid)),
        file,
        start,
        end,
    })
}

fn kind(word: &[u8]) -> LockKind {
    match word {
        b"FLOCK" => LockKind::Flock,
        b"POSIX" => LockKind::Posix,
        b"OFDLCK" => LockKind::OpenFileDescription,
        b"LEASE" => LockKind::Lease,
        b"DELEG" => LockKind::Delegation,
        b"LAYOUT" => LockKind::Layout,
        b"ACCESS" => LockKind::Access,
        other => LockKind::Other(String::from_utf8_lossy(other).into_owned()),
    }
}

fn state(word: &[u8]) -> LockState {
    match word {
        b"ADVISORY" => LockState::Advisory,
        b"MANDATORY" => LockState::Mandatory,
        b"ACTIVE" => LockState::Active,
        b"BREAKING" => LockState::Breaking,
        b"BREAKER" => LockState::Breaker,
        b"*NOINODE*" => LockState::NoInode,
        other => LockState::Other(String::from_utf8_lossy(other).into_owned()),
    }
}

fn access(word: &[u8]) -> LockAccess {
    match word {
        b"READ" => LockAccess::Read,
        b"WRITE" => LockAccess::Write,
        b"UNLCK" => LockAccess::Unlock,
        other => LockAccess::Other(String::from_utf8_lossy(other).into_owned()),
    }
}

/// `MAJOR:MINOR:INODE`, the first two in hexadecimal.
fn locked_file(word: &[u8]) -> Option<LockedFile> {
    let at = word.iter().rposition(|byte| *byte == b':')?;
    Some(LockedFile { device: text::device(&word[..at])?, inode: text::decimal(&word[at + 1..])? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::{ProcError, parsed_system};

    #[test]
    fn every_kind_of_lock_is_read() -> Result<(), Unreadable> {
        let text = b"1: LEASE  ACTIVE    READ 8052 fe:00:10013103 0 EOF\n\
            2: OFDLCK ADVISORY  WRITE -1 fe:00:10013102 0 EOF\n\
            3: POSIX  ADVISORY  WRITE 8052 fe:00:10013101 5 14\n\
            3: -> POSIX  ADVISORY  WRITE 8093 fe:00:10013101 5 14\n\
            3:    -> POSIX  ADVISORY  READ  8094 fe:00:10013101 5 14\n\
            4: FLOCK  ADVISORY  WRITE 0 00:1f:10013100 0 EOF\n\
            5: DELEG  BREAKING  UNLCK 7 <none>:0 0 EOF\n";
        let locks = parse(text)?;
        let kinds: Vec<_> = locks.iter().map(|lock| (lock.kind.clone(), lock.waits)).collect();
        let expected = [
            (LockKind::Lease, false),
            (LockKind::OpenFileDescription, false),
            (LockKind::Posix, false),
            (LockKind::Posix, true),
            (LockKind::Posix, true),
            (LockKind::Flock, false),
            (LockKind::Delegation, false),
        ];
        assert_eq!(kinds, expected);
        let owners: Vec<_> = locks.iter().map(|lock| lock.pid.map(|pid| pid.0)).collect();
        assert_eq!(owners, [Some(8052), None, Some(8052), Some(8093), Some(8094), None, Some(7)]);
        assert_eq!((locks[2].start, locks[2].end), (5, Some(14)));
        assert_eq!(locks[5].file, Some(LockedFile { device: (0, 0x1f), inode: 10013100 }));
        assert_eq!((&locks[6].state, &locks[6].access), (&LockState::Breaking, &LockAccess::Unlock));
        assert_eq!((locks[6].file, locks[6].end), (None, None));
        Ok(())
    }

    #[test]
    fn a_line_that_is_cut_is_refused() {
        assert!(parse_line(b"1: POSIX ADVISORY WRITE 8052 fe:00:10013101 5").is_err());
        assert!(parse_line(b"POSIX ADVISORY WRITE 8052 fe:00:10013101 5 14").is_err());
    }

    #[test]
    fn the_locks_of_this_system_can_be_read() -> Result<(), ProcError> {
        parsed_system("locks", parse).map(drop)
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "([0-9]{1,3}|[A-Z]{1,5}|:|->| |\n){0,60}") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
        }
    }
}
