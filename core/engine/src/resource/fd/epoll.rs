//! Sets of watched descriptors, epoll(7): what each watch waits for, its data, and what the program knows already.
//!
//! A watch belongs to an open file description and to the number under which it was added. The number may be closed
//! since, or stand for something else; kcmp(2) tells which file it is that the set goes on watching.

// zoo: epoll

mod told;
mod used_up;
mod watches;

pub use told::settle;
pub use watches::{Watching, highest};

use std::cmp::Ordering;
use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};

use dormouse_wire::{FdNumber, Pid, Problem, ProblemKind, Tid, phrase};
use serde::{Deserialize, Serialize};

use super::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, kind_of, not_made};
use crate::kernel::{anonymous, files, kcmp};
use crate::proc::fdinfo::EpollTarget;

/// The kind.
#[derive(Debug)]
pub struct Epoll;

const NAME: &str = "epoll";

/// A set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it watches.
    watches: Vec<Watch>,
    /// Nothing waited in it to be told: its program knew all that was ready.
    quiet: bool,
}

/// A watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Watch {
    /// The number under which it was added.
    number: FdNumber,
    /// What it watches.
    file: FileId,
    /// The process that adds it.
    pid: Pid,
    /// EPOLL*: what for, and how; of a one-shot watch that is used up, only how.
    events: u32,
    /// What the program gets with the event.
    data: u64,
    /// Of these events a quiet set has told its program, who has not asked to be told again (EPOLLET).
    told: u32,
}

/// What of a watch's events says how it watches and not what for.
const HOW: u32 = (libc::EPOLLET | libc::EPOLLONESHOT | libc::EPOLLWAKEUP | libc::EPOLLEXCLUSIVE) as u32;
/// The highest number a descriptor can have had, as for tables.
const HIGHEST: i32 = 1 << 24;

impl Watch {
    /// A one-shot watch that has told its program, and waits to be set up again.
    fn is_used_up(&self) -> bool {
        is_used_up(self.events)
    }

    fn is_edge(&self) -> bool {
        self.events & libc::EPOLLET as u32 != 0 && !self.is_used_up()
    }
}

fn is_used_up(events: u32) -> bool {
    events & libc::EPOLLONESHOT as u32 != 0 && events & !HOW == 0
}

impl FileKind for Epoll {
    type Record = Record;

    fn name(&self) -> &'static str {
        NAME
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        facts.link == b"anon_inode:[eventpoll]"
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        let mut problems = files.refuse_shared(facts, ProblemKind::AnonymousFile);
        for (watch, file) in targets(facts, files) {
            problems.extend(match file {
                Some(file) => judge_watch(facts, &watch, file),
                None => vec![nobodys(facts, watch.fd)],
            });
        }
        if anonymous::polls_busily(&facts.file) {
            let loss =
                phrase!("that it polls network devices busily (EPIOCSPARAMS): it sleeps until they have something");
            problems.push(facts.loss(
                ProblemKind::AnonymousFile,
                phrase!("its settings for busy polling are the network driver's"),
                loss,
            ));
        }
        problems
    }

    fn capture(&self, facts: &FileFacts, capture: &mut Capture<'_>) -> Result<Record, Problem> {
        let files = capture.files;
        let failed = |errno: crate::kernel::Errno| {
            facts.problem(
                ProblemKind::AnonymousFile,
                phrase!("what is ready in it cannot be told: {why}", why = errno.desc()),
            )
        };
        // Asked by anybody but the process whose signals it is about, a signalfd is not ready, and the set believes it.
        let quiet = !takes_signals(facts, files) && anonymous::poll(&facts.file, libc::POLLIN).map_err(failed)? == 0;
        let mut watches = Vec::new();
        for (watch, file) in targets(facts, files) {
            let file = file.ok_or_else(|| nobodys(facts, watch.fd))?;
            let mut watch = Watch {
                number: watch.fd,
                file: file.id,
                pid: adder(facts, file, watch.fd, files),
                events: watch.events,
                data: watch.data,
                told: 0,
            };
            if quiet && watch.is_edge() {
                watch.told = anonymous::poll(&file.file, (watch.events & !HOW) as i16).map_err(failed)? as u16 as u32;
            }
            watches.push(watch);
        }
        Ok(Record { watches, quiet })
    }

    fn preflight(&self, record: &Record, _file: &OpenFile) -> Vec<Problem> {
        let impossible = |watch: &&Watch| !(0..=HIGHEST).contains(&watch.number.0);
        let problem = |watch: &Watch| {
            let what = phrase!(
                "the image contradicts itself: an epoll set watches the descriptor {number}",
                number = watch.number
            );
            Problem::blocks(ProblemKind::Image, what)
        };
        record.watches.iter().filter(impossible).map(problem).collect()
    }

    fn restore(
        &self,
        _record: &Record,
        _id: FileId,
        file: &OpenFile,
        _restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        let made = anonymous::epoll().map_err(failed)?;
        files::set_status(&made, file.flags).map_err(failed)?;
        Ok(made)
    }
}

fn failed(errno: crate::kernel::Errno) -> Problem {
    not_made(phrase!("an epoll set"), errno)
}

/// What a set watches, and which file that is; none: nobody in the group has it open.
fn targets<'a>(facts: &'a FileFacts, files: &'a FilesFacts) -> Vec<(EpollTarget, Option<&'a FileFacts>)> {
    let mut earlier: HashMap<FdNumber, u32> = HashMap::new();
    let find = |watch: &EpollTarget| {
        let nth = earlier.entry(watch.fd).or_default();
        let own = |file: &FileFacts| (Tid(std::process::id() as i32), FdNumber(file.file.as_raw_fd()));
        let is_it =
            |file: &&FileFacts| kcmp::epoll_target(own(file), own(facts), watch.fd, *nth) == Ok(Ordering::Equal);
        let usual = facts.holders.iter().filter_map(|(pid, _)| files.by_descriptor.get(&(*pid, watch.fd)));
        let others = files.files.iter().filter(|file| file.stat.st_ino == watch.inode);
        let found = usual.map(|id| &files.files[id.0]).chain(others).find(is_it);
        *nth += 1;
        (*watch, found)
    };
    facts.info.watched().map(find).collect()
}

/// Who adds a watch: signals are told to a set only for the process that has added their descriptor.
fn adder(set: &FileFacts, target: &FileFacts, number: FdNumber, files: &FilesFacts) -> Pid {
    let holders = || set.holders.iter().map(|(pid, _)| *pid);
    let as_then = holders().find(|pid| files.by_descriptor.get(&(*pid, number)) == Some(&target.id));
    let both = || holders().find(|holder| target.holders.iter().any(|(pid, _)| pid == holder));
    as_then.or_else(both).or_else(|| holders().next()).unwrap_or(set.process.pid)
}

/// Whether a set watches signals, itself or through a set that it watches.
fn takes_signals(set: &FileFacts, files: &FilesFacts) -> bool {
    let mut seen = vec![set.id];
    let mut next = 0;
    while let Some(id) = seen.get(next) {
        for file in targets(&files.files[id.0], files).into_iter().filter_map(|(_, file)| file) {
            match kind_of(file).name() {
                "signalfd" => return true,
                NAME if !seen.contains(&file.id) => seen.push(file.id),
                _ => {}
            }
        }
        next += 1;
    }
    false
}

fn nobodys(facts: &FileFacts, number: FdNumber) -> Problem {
    let what =
        phrase!("it watches what was descriptor {number}, and no process of the group has that open any more", number);
    let way_out = phrase!("Freeze it together with the process that has it open, or pause the group instead");
    facts.problem(ProblemKind::AnonymousFile, what).way_out(way_out)
}

fn judge_watch(facts: &FileFacts, watch: &EpollTarget, file: &FileFacts) -> Vec<Problem> {
    let mut problems = Vec::new();
    if watch.events & libc::EPOLLWAKEUP as u32 != 0 {
        let what = phrase!("its watch on descriptor {fd} keeps the machine awake (EPOLLWAKEUP)", fd = watch.fd);
        problems.push(facts.loss(ProblemKind::AnonymousFile, what, phrase!("that it keeps the machine awake")));
    }
    if is_used_up(watch.events) && !used_up::can_be_told(file) {
        let what = phrase!(
            "its one-shot watch on descriptor {fd} is used up, and can only be made again as far as errors go",
            fd = watch.fd
        );
        let loss =
            phrase!("that it is used up: the program may hear of an error or a hang-up there before it asks for that");
        problems.push(facts.loss(ProblemKind::AnonymousFile, what, loss));
    }
    problems
}
