//! Locks on files: flock(2) and open file description locks belong to the open file description, POSIX locks to the
//! process, fcntl_locking(2). All are taken again inside the process that took them.

// zoo: locks

use dormouse_wire::{FdNumber, Pid, Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};

use super::{FileFacts, FilesFacts, Finish, OpenFile, leases};
use crate::arguments;
use crate::proc::locks::{self, Lock, LockAccess, LockKind, LockedFile};

/// A lock that a descriptor's holder has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLock {
    /// Whose it is.
    pub kind: Kind,
    /// For writing; else for reading.
    pub exclusive: bool,
    /// The first byte it covers.
    pub start: u64,
    /// The last byte it covers; none: to the end, however far the file grows.
    pub end: Option<u64>,
    /// The process that takes it.
    pub pid: Pid,
    /// The descriptor through which it takes it.
    pub number: FdNumber,
}

/// Whose a lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// flock(2): the open file description's, for the whole file.
    Flock,
    /// F_OFD_SETLK: the open file description's, for a range.
    OpenFile,
    /// F_SETLK: the process's, for a range.
    Posix,
}

/// A lock as one holder's fdinfo shows it.
#[derive(Clone, Debug)]
pub struct SeenLock {
    /// The holder.
    pub pid: Pid,
    /// Its descriptor.
    pub number: FdNumber,
    /// The lock.
    pub lock: Lock,
}

impl FileLock {
    fn of(seen: &SeenLock) -> Option<Self> {
        let kind = match seen.lock.kind {
            LockKind::Flock => Kind::Flock,
            LockKind::OpenFileDescription => Kind::OpenFile,
            LockKind::Posix => Kind::Posix,
            _ => return None,
        };
        let exclusive = match seen.lock.access {
            LockAccess::Read => false,
            LockAccess::Write => true,
            _ => return None,
        };
        let (start, end) = (seen.lock.start, seen.lock.end);
        Some(Self { kind, exclusive, start, end, pid: seen.pid, number: seen.number })
    }

    /// The same lock seen through another holder.
    fn is_same(&self, other: &Self) -> bool {
        let owner = self.kind != Kind::Posix || self.pid == other.pid;
        let what = |lock: &Self| (lock.kind, lock.exclusive, lock.start, lock.end);
        owner && what(self) == what(other)
    }

    /// Whether both cannot be held at once by different owners.
    fn excludes(&self, lock: &Lock) -> bool {
        let flock = self.kind == Kind::Flock;
        let same_world = match lock.kind {
            LockKind::Flock => flock,
            LockKind::Posix | LockKind::OpenFileDescription => !flock,
            _ => false,
        };
        let overlap = lock.end.is_none_or(|end| self.start <= end) && self.end.is_none_or(|end| lock.start <= end);
        same_world && !lock.waits && overlap && (self.exclusive || lock.access != LockAccess::Read)
    }

    fn shown(&self) -> String {
        let for_what = if self.exclusive { "write" } else { "read" };
        match self.kind {
            Kind::Flock => format!("the {for_what} lock on descriptor {} (flock)", self.number),
            Kind::OpenFile | Kind::Posix => format!("the {for_what} lock on descriptor {}", self.number),
        }
    }
}

/// The locks of an open file, each once.
pub fn capture(facts: &FileFacts) -> Vec<FileLock> {
    let mut found: Vec<FileLock> = Vec::new();
    // The one who took a lock is asked first, so that it is his again.
    let (takers, others): (Vec<_>, Vec<_>) = facts.locks.iter().partition(|seen| seen.lock.pid == Some(seen.pid));
    for lock in takers.into_iter().chain(others).filter_map(FileLock::of) {
        if !found.iter().any(|known| known.is_same(&lock)) {
            found.push(lock);
        }
    }
    found
}

/// Locks that cannot be kept, and those for which somebody else is waiting.
pub fn judge(facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
    let mut problems = Vec::new();
    if facts.locks.is_empty() {
        return problems;
    }
    let is_odd = |seen: &SeenLock| seen.lock.kind != LockKind::Lease && FileLock::of(seen).is_none();
    if facts.locks.iter().any(is_odd) {
        let what = phrase!("it holds a lock of a kind that this version does not know");
        problems.push(
            facts
                .problem(ProblemKind::Lock, what)
                .way_out(phrase!("Close the file in the program, or pause the group instead")),
        );
    }
    let captured = capture(facts);
    if captured.iter().any(|lock| lock.kind != Kind::Posix) || leases::is_leased(facts) {
        problems.extend(files.refuse_shared(facts, ProblemKind::Lock));
    }
    let all = crate::proc::parsed_system("locks", locks::parse).unwrap_or_default();
    let file = facts.locks.iter().find_map(|seen| seen.lock.file);
    for waiter in all.iter().filter(|lock| lock.waits && lock.file == file) {
        let Some(pid) = waiter.pid.filter(|pid| !files.members.contains(pid)) else { continue };
        if captured.iter().any(|lock| lock.excludes(&Lock { waits: false, ..waiter.clone() })) {
            let what = phrase!("{named} waits for a lock that it holds", named = named(pid));
            let loss =
                phrase!("the lock: that process gets it while the group sleeps, and must give it back before the thaw");
            problems.push(facts.loss(ProblemKind::Lock, what, loss));
        }
    }
    problems
}

/// Who has taken the locks since.
pub fn preflight(file: &OpenFile, path: &std::path::Path) -> Vec<Problem> {
    use std::os::unix::fs::MetadataExt;
    if file.locks.is_empty() {
        return Vec::new();
    }
    let Ok(found) = std::fs::metadata(path) else { return Vec::new() };
    let device = (libc::major(found.dev()), libc::minor(found.dev()));
    let here = LockedFile { device, inode: found.ino() };
    let all = crate::proc::parsed_system("locks", locks::parse).unwrap_or_default();
    let mut problems = Vec::new();
    for lock in all.iter().filter(|lock| lock.file == Some(here)) {
        if file.locks.iter().any(|own| own.excludes(lock)) {
            let who = lock.pid.map_or(phrase!("another process"), |pid| named(pid).into());
            let what = phrase!("{who} holds a lock that the group had", who);
            let problem = Problem::blocks(ProblemKind::Lock, what).at(crate::resource::named_file::shown(path));
            problems.push(problem.way_out(phrase!("Wait until it gives the lock back, then thaw again")));
        }
    }
    problems.dedup();
    problems
}

/// A process for a person.
fn named(pid: Pid) -> String {
    let comm = crate::proc::read(pid, "comm").unwrap_or_default();
    format!("{} (pid {pid})", String::from_utf8_lossy(comm.trim_ascii_end()).escape_debug())
}

/// Takes the locks again that are this process's to take through this descriptor. Nothing may be closed in the process
/// afterwards: POSIX locks go with any descriptor of the file.
pub fn restore(file: &OpenFile, finish: &mut Finish<'_>) {
    let own = file.locks.iter().filter(|lock| (lock.pid, lock.number) == (finish.pid, finish.number));
    for lock in own {
        let purpose = format!("take {} again, which another process may hold now", lock.shown());
        if lock.kind == Kind::Flock {
            let operation = libc::LOCK_NB | if lock.exclusive { libc::LOCK_EX } else { libc::LOCK_SH };
            finish.batch.must(purpose, libc::SYS_flock, arguments![lock.number.0, operation]);
            continue;
        }
        let range = finish.batch.bytes(&range(lock));
        let command = if lock.kind == Kind::Posix { libc::F_SETLK } else { libc::F_OFD_SETLK };
        finish.batch.must(purpose, libc::SYS_fcntl, arguments![lock.number.0, command, range]);
    }
}

/// `struct flock` of 64 bits: type, whence, start, length, pid.
fn range(lock: &FileLock) -> [u8; 32] {
    let kind = if lock.exclusive { libc::F_WRLCK } else { libc::F_RDLCK } as i16;
    // A length of zero reaches to the end.
    let length = lock.end.map_or(0, |end| end.saturating_sub(lock.start).saturating_add(1));
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&kind.to_ne_bytes());
    bytes[8..16].copy_from_slice(&lock.start.to_ne_bytes());
    bytes[16..24].copy_from_slice(&length.to_ne_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::Unreadable;

    fn lock(line: &str) -> Result<Lock, Unreadable> {
        locks::parse_line(line.as_bytes())
    }

    fn seen(pid: i32, line: &str) -> Result<FileLock, Unreadable> {
        let seen = SeenLock { pid: Pid(pid), number: FdNumber(3), lock: lock(line)? };
        FileLock::of(&seen).ok_or_else(|| Unreadable::line(line.as_bytes()))
    }

    #[test]
    fn a_range_is_what_the_kernel_reads() -> Result<(), Unreadable> {
        use std::mem::offset_of;
        let number = |bytes: &[u8; 32], at: usize| {
            bytes[at..at + 8].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        for (line, kind, start, length) in [
            ("1: POSIX ADVISORY WRITE 7 fe:00:99 10 29", libc::F_WRLCK, 10, 20),
            ("1: POSIX ADVISORY READ 7 fe:00:99 100 EOF", libc::F_RDLCK, 100, 0),
        ] {
            let bytes = range(&seen(7, line)?);
            assert_eq!(bytes.len(), size_of::<libc::flock>());
            assert_eq!(number(&bytes, offset_of!(libc::flock, l_type)), kind as u64);
            assert_eq!(number(&bytes, offset_of!(libc::flock, l_start)), start);
            assert_eq!(number(&bytes, offset_of!(libc::flock, l_len)), length);
        }
        Ok(())
    }

    #[test]
    fn posix_locks_are_each_processs_own_and_the_others_are_shared() -> Result<(), Unreadable> {
        let posix = "1: POSIX ADVISORY READ 7 fe:00:99 0 EOF";
        assert!(!seen(7, posix)?.is_same(&seen(8, posix)?));
        let flock = "1: FLOCK ADVISORY READ 7 fe:00:99 0 EOF";
        assert!(seen(7, flock)?.is_same(&seen(8, flock)?));
        Ok(())
    }

    #[test]
    fn locks_exclude_each_other_where_they_overlap() -> Result<(), Unreadable> {
        let own = seen(7, "1: POSIX ADVISORY READ 7 fe:00:99 10 19")?;
        assert!(own.excludes(&lock("1: OFDLCK ADVISORY WRITE -1 fe:00:99 19 30")?));
        assert!(own.excludes(&lock("1: POSIX ADVISORY WRITE 9 fe:00:99 0 EOF")?));
        assert!(!own.excludes(&lock("1: POSIX ADVISORY READ 9 fe:00:99 0 EOF")?));
        assert!(!own.excludes(&lock("1: POSIX ADVISORY WRITE 9 fe:00:99 20 30")?));
        assert!(!own.excludes(&lock("1: FLOCK ADVISORY WRITE 9 fe:00:99 0 EOF")?));
        assert!(!own.excludes(&lock("1: -> POSIX ADVISORY WRITE 9 fe:00:99 0 EOF")?));
        Ok(())
    }

    #[test]
    fn a_lease_is_not_taken_for_a_lock() {
        assert!(seen(7, "1: LEASE ACTIVE READ 7 fe:00:99 0 EOF").is_err());
    }
}
