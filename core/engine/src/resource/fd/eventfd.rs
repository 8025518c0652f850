//! Event counters, eventfd(2): the value and EFD_SEMAPHORE.

// zoo: eventfd

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use dormouse_wire::{Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};

use super::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, not_made};
use crate::kernel::{Answer, anonymous, files};
use crate::proc::fdinfo::FdDetail;

/// The kind.
#[derive(Debug)]
pub struct Eventfd;

/// An event counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it counts to now, at most 2^64 - 2.
    count: u64,
    /// EFD_SEMAPHORE: a read takes one, not all.
    semaphore: bool,
}

impl FileKind for Eventfd {
    type Record = Record;

    fn name(&self) -> &'static str {
        "eventfd"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        facts.link == b"anon_inode:[eventfd]"
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        files.refuse_shared(facts, ProblemKind::AnonymousFile)
    }

    fn capture(&self, facts: &FileFacts, _capture: &mut Capture<'_>) -> Result<Record, Problem> {
        let details = &facts.info.details;
        let count = details.iter().find_map(|detail| match detail {
            FdDetail::EventfdCount(count) => Some(*count),
            _ => None,
        });
        let semaphore = details.iter().find_map(|detail| match detail {
            FdDetail::EventfdSemaphore(semaphore) => Some(*semaphore),
            _ => None,
        });
        let count =
            count.ok_or_else(|| facts.problem(ProblemKind::AnonymousFile, phrase!("its counter cannot be read")))?;
        let semaphore = match semaphore {
            Some(semaphore) => semaphore,
            None => counts_one_by_one(&facts.file, count).map_err(|error| {
                let what = phrase!("whether it is a semaphore cannot be told: {why}", why = error);
                facts.problem(ProblemKind::AnonymousFile, what)
            })?,
        };
        Ok(Record { count, semaphore })
    }

    fn restore(
        &self,
        record: &Record,
        _id: FileId,
        file: &OpenFile,
        _restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        make(record, file.flags).map_err(|errno| not_made(phrase!("an event counter"), errno))
    }
}

fn make(record: &Record, flags: i32) -> Answer<OwnedFd> {
    let made = anonymous::eventfd(record.semaphore)?;
    if record.count != 0 {
        // The initial value of eventfd(2) has 32 bits, a write has 64.
        nix::unistd::write(&made, &record.count.to_ne_bytes())?;
    }
    files::set_status(&made, flags)?;
    Ok(made)
}

/// Before Linux 6.5 fdinfo does not tell: a read of at least two does. What it takes is put back; the group stands
/// still, so nobody sees it missing.
fn counts_one_by_one(mut file: &File, count: u64) -> std::io::Result<bool> {
    let added: u64 = if count < 2 { 2 } else { 0 };
    if added > 0 {
        file.write_all(&added.to_ne_bytes())?;
    }
    let mut taken = [0; 8];
    file.read_exact(&mut taken)?;
    let taken = u64::from_ne_bytes(taken);
    let semaphore = taken == 1;
    if semaphore {
        // Two were added, one was taken: or one of the old ones is missing.
        for _ in 1..added {
            file.read_exact(&mut [0; 8])?;
        }
    }
    let missing = if added > 0 && semaphore { 0 } else { taken - added };
    if missing > 0 {
        file.write_all(&missing.to_ne_bytes())?;
    }
    Ok(semaphore)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut file: &File) -> std::io::Result<u64> {
        let mut value = [0; 8];
        file.read_exact(&mut value)?;
        Ok(u64::from_ne_bytes(value))
    }

    #[test]
    fn a_counter_comes_back_with_its_value() -> std::io::Result<()> {
        for count in [1, (1 << 33) + 7, u64::MAX - 1] {
            let file = File::from(make(&Record { count, semaphore: false }, libc::O_NONBLOCK)?);
            assert_eq!(read(&file)?, count);
            assert!(read(&file).is_err());
        }
        Ok(())
    }

    #[test]
    fn a_semaphore_is_told_from_a_counter_and_keeps_its_value() -> std::io::Result<()> {
        for (count, semaphore) in [(0, true), (1, true), (5, true), (0, false), (1, false), (5, false)] {
            let file = File::from(make(&Record { count, semaphore }, libc::O_NONBLOCK)?);
            assert_eq!(counts_one_by_one(&file, count)?, semaphore, "{count}");
            let left = if semaphore {
                std::iter::from_fn(|| read(&file).ok()).inspect(|one| assert_eq!(*one, 1)).count() as u64
            } else {
                read(&file).unwrap_or(0)
            };
            assert_eq!(left, count, "semaphore: {semaphore}");
        }
        Ok(())
    }
}
