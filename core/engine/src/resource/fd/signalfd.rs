//! Signals taken through a descriptor, signalfd(2): which ones. The signals themselves wait in their processes.

// zoo: signalfd

use std::os::fd::OwnedFd;

use dormouse_wire::{Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};

use super::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, not_made};
use crate::kernel::{Answer, anonymous, files};
use crate::proc::fdinfo::FdDetail;

/// The kind.
#[derive(Debug)]
pub struct Signalfd;

/// A descriptor for signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The signals it takes, bit n for signal n + 1.
    mask: u64,
}

impl FileKind for Signalfd {
    type Record = Record;

    fn name(&self) -> &'static str {
        "signalfd"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        facts.link == b"anon_inode:[signalfd]"
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        files.refuse_shared(facts, ProblemKind::AnonymousFile)
    }

    fn capture(&self, facts: &FileFacts, _capture: &mut Capture<'_>) -> Result<Record, Problem> {
        let mask = facts.info.details.iter().find_map(|detail| match detail {
            FdDetail::SignalMask(mask) => Some(*mask),
            _ => None,
        });
        let mask =
            mask.ok_or_else(|| facts.problem(ProblemKind::AnonymousFile, phrase!("its signals cannot be read")))?;
        Ok(Record { mask })
    }

    fn restore(
        &self,
        record: &Record,
        _id: FileId,
        file: &OpenFile,
        _restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        make(*record, file.flags).map_err(|errno| not_made(phrase!("a descriptor for signals"), errno))
    }
}

fn make(record: Record, flags: i32) -> Answer<OwnedFd> {
    let made = anonymous::signalfd(record.mask)?;
    files::set_status(&made, flags)?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::proc::{fdinfo, parsed_system};

    #[test]
    fn the_kernel_shows_the_mask_that_was_kept() -> Result<(), Box<dyn std::error::Error>> {
        let mask = 1 << (libc::SIGUSR1 - 1) | 1 << 38;
        let made = make(Record { mask }, libc::O_NONBLOCK)?;
        let info = parsed_system(&format!("self/fdinfo/{}", made.as_raw_fd()), fdinfo::parse)?;
        assert!(info.details.contains(&FdDetail::SignalMask(mask)));
        assert_eq!(info.flags as i32 & libc::O_NONBLOCK, libc::O_NONBLOCK);
        Ok(())
    }
}
