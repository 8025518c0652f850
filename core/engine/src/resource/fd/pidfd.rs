//! Handles on processes, pidfd_open(2): on members of the group, and on processes that have ended and were waited for.

// zoo: pidfd

use std::os::fd::OwnedFd;

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, Tid, phrase};
use serde::{Deserialize, Serialize};

use super::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, not_made};
use crate::kernel::{Answer, files, pidfd};
use crate::proc::{self, fdinfo::FdDetail};

/// The kind.
#[derive(Debug)]
pub struct Pidfd;

/// What a handle is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// A process.
    Process(Pid),
    /// One thread, PIDFD_THREAD.
    Thread(Tid),
    /// A process or thread that is there no more.
    Gone,
}

impl FileKind for Pidfd {
    type Record = Record;

    fn name(&self) -> &'static str {
        "pidfd"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        facts.link == b"anon_inode:[pidfd]"
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        let outside = |what: Phrase| {
            let problem = facts.problem(ProblemKind::AnonymousFile, what);
            vec![problem.way_out(phrase!("Freeze them together, or close it in the program"))]
        };
        match record(facts) {
            Some(Record::Process(pid)) if !files.members.contains(&pid) => {
                let comm = proc::read(pid, "comm").unwrap_or_default();
                let comm = String::from_utf8_lossy(comm.trim_ascii_end()).escape_debug().to_string();
                outside(phrase!("it is a handle on {comm} (pid {pid}), which is not part of the group", comm, pid))
            }
            Some(Record::Thread(tid)) if !files.members.iter().any(|pid| proc::thread_folder(*pid, tid).exists()) => {
                outside(phrase!("it is a handle on thread {tid}, which is not part of the group", tid))
            }
            Some(_) => Vec::new(),
            None => outside(phrase!("it is a handle on a process that cannot be seen from here")),
        }
    }

    fn capture(&self, facts: &FileFacts, _capture: &mut Capture<'_>) -> Result<Record, Problem> {
        record(facts).ok_or_else(|| facts.problem(ProblemKind::AnonymousFile, phrase!("its process cannot be told")))
    }

    /// Its process must be there.
    fn is_late(&self) -> bool {
        true
    }

    fn restore(
        &self,
        record: &Record,
        _id: FileId,
        file: &OpenFile,
        restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        let what = match record {
            Record::Process(pid) => phrase!("a handle on pid {pid}", pid),
            Record::Thread(tid) => phrase!("a handle on thread {tid}", tid),
            Record::Gone => phrase!("a handle on a process that has ended"),
        };
        let inside = match record {
            Record::Process(pid) => restore.threads.contains(&pid.leader()),
            Record::Thread(tid) => restore.threads.contains(tid),
            Record::Gone => true,
        };
        if !inside {
            return Err(Problem::blocks(
                ProblemKind::Image,
                phrase!("the image contradicts itself: {what} leads out of the group", what),
            ));
        }
        make(*record, file.flags).map_err(|errno| not_made(what, errno))
    }
}

fn record(facts: &FileFacts) -> Option<Record> {
    let pid = facts.info.details.iter().find_map(|detail| match detail {
        FdDetail::PidfdPid(pid) => Some(*pid),
        _ => None,
    });
    match pid? {
        -1 => Some(Record::Gone),
        pid if pid > 0 && facts.info.flags as i32 & libc::O_EXCL != 0 => Some(Record::Thread(Tid(pid))),
        pid if pid > 0 => Some(Record::Process(Pid(pid))),
        _ => None,
    }
}

fn make(record: Record, flags: i32) -> Answer<OwnedFd> {
    let made = match record {
        Record::Process(pid) => pidfd::open(pid)?,
        Record::Thread(tid) => pidfd::open_thread(tid)?,
        Record::Gone => pidfd::of_nobody()?,
    };
    files::set_status(&made, flags)?;
    Ok(made)
}
