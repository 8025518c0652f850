//! Files and directories that tell of a process, proc_pid(5): opened again when the processes of the group are there, and placed
//! where they were read to when the engine has left them.
//!
//! The engine opens them, and not their owner, who has no right to a process that is not complete. So only such are opened
//! again as tell everybody the same who may open them. Those of a process outside the group may be another process's by
//! then, and are opened anew on one that has ended: as if it had.

// zoo: process_files process_files_outside process_memory

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use dormouse_wire::{Pid, Problem, ProblemKind, Tid, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, shown_bytes};
use crate::kernel::bystander::Bystander;
use crate::kernel::{Answer, Errno, files};
use crate::proc;

/// The kind.
#[derive(Debug)]
pub struct ProcessFile;

/// Its name in the image.
const KIND: &str = "process_file";

/// What it tells of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The process, if it belongs to the group.
    process: Option<Pid>,
    /// Its thread, for one below `task`.
    thread: Option<Tid>,
    /// What both are called in the pid namespace that the proc(5) shows, where that is one within the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    called: Option<(Pid, Option<Tid>)>,
    /// The name below the directory of the process or the thread; empty: that directory itself.
    name: ByteBuf,
    /// It can be sought in, and is at the position of the open file.
    placed: bool,
}

/// What tells everybody the same who may open it; what depends on the rights of whoever has opened it is not among these.
const NAMES: [&str; 39] = [
    "",
    "attr",
    "autogroup",
    "auxv",
    "cgroup",
    "children",
    "cmdline",
    "comm",
    "coredump_filter",
    "cpuset",
    "environ",
    "fd",
    "fdinfo",
    "io",
    "limits",
    "loginuid",
    "maps",
    "mountinfo",
    "mounts",
    "mountstats",
    "ns",
    "numa_maps",
    "oom_adj",
    "oom_score",
    "oom_score_adj",
    "personality",
    "sched",
    "schedstat",
    "sessionid",
    "smaps",
    "smaps_rollup",
    "stat",
    "statm",
    "status",
    "syscall",
    "task",
    "timers",
    "timerslack_ns",
    "wchan",
];

/// Which of them may be written to: whoever writes must have the right to.
const WRITABLE: [&str; 5] = ["comm", "coredump_filter", "oom_score_adj", "autogroup", "timerslack_ns"];

/// A path below `/proc/PID`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    process: Pid,
    thread: Option<Tid>,
    name: Vec<u8>,
}

impl Place {
    fn parse(link: &[u8]) -> Option<Self> {
        let number = |part: &[u8]| std::str::from_utf8(part).ok()?.parse::<i32>().ok().filter(|number| *number > 0);
        let mut parts = proc::strip_deleted(link).0.strip_prefix(b"/proc/")?.split(|byte| *byte == b'/');
        let process = Pid(number(parts.next()?)?);
        let mut rest: Vec<&[u8]> = parts.collect();
        let mut thread = None;
        if let [b"task", tid, ..] = rest.as_slice() {
            thread = Some(Tid(number(tid)?));
            rest.drain(..2);
        }
        Some(Self { process, thread, name: rest.join(&b'/') })
    }

    fn may_be_opened_again(&self, flags: i32) -> bool {
        let is_in = |names: &[&str]| names.iter().any(|known| known.as_bytes() == self.name);
        let reads = flags & libc::O_ACCMODE == libc::O_RDONLY;
        is_in(&NAMES) && (reads || is_in(&WRITABLE))
    }
}

/// The process, and perhaps its thread, that a file below this path tells of, by their numbers there.
pub fn subject(link: &[u8]) -> Option<(Pid, Option<Tid>)> {
    Place::parse(link).map(|place| (place.process, place.thread))
}

impl Record {
    fn path(&self, process: Pid, thread: Option<Tid>) -> String {
        let name = String::from_utf8_lossy(&self.name);
        let directory = match thread {
            Some(thread) => format!("/proc/{process}/task/{thread}"),
            None => format!("/proc/{process}"),
        };
        if name.is_empty() { directory } else { format!("{directory}/{name}") }
    }

    fn place(&self) -> Place {
        Place { process: self.process.unwrap_or(Pid(0)), thread: self.thread, name: self.name.to_vec() }
    }
}

impl FileKind for ProcessFile {
    type Record = Record;

    fn name(&self) -> &'static str {
        KIND
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        let is_one = matches!(facts.file_type(), libc::S_IFREG | libc::S_IFDIR) && Place::parse(&facts.link).is_some();
        is_one && is_of_processes(&facts.file)
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        let Some(place) = Place::parse(&facts.link) else { return Vec::new() };
        if !place.may_be_opened_again(facts.info.flags as i32) {
            let what = phrase!("what it tells of a process, or does to it, depends on who has opened it");
            let problem = facts.problem(ProblemKind::File, what);
            return vec![problem.way_out(phrase!("Close it in the program, or pause the group instead"))];
        }
        if files.members.contains(&facts.tells_of.map_or(place.process, |(process, _)| process)) {
            return Vec::new();
        }
        let what = phrase!("it tells of a process outside the group, which may be another one at the thaw");
        vec![facts.loss(
            ProblemKind::File,
            what,
            phrase!("what it tells: the program finds that this process has ended"),
        )]
    }

    fn capture(&self, facts: &FileFacts, capture: &mut Capture<'_>) -> Result<Record, Problem> {
        let place = Place::parse(&facts.link)
            .ok_or_else(|| facts.problem(ProblemKind::File, phrase!("which process it tells of cannot be read")))?;
        let called = facts.tells_of.map(|_| (place.process, place.thread));
        let (process, thread) = facts.tells_of.unwrap_or((place.process, place.thread));
        let is_inside = capture.files.members.contains(&process);
        Ok(Record {
            process: is_inside.then_some(process),
            thread,
            called,
            name: ByteBuf::from(place.name),
            placed: facts.info.position != 0 && !facts.is_path_only(),
        })
    }

    fn preflight(&self, record: &Record, file: &OpenFile) -> Vec<Problem> {
        // By other numbers than those that are its own it is found among other mounts only.
        let is_found = record.called.is_none() || record.process.is_some() && file.mounts.is_some();
        let is_possible = record.place().may_be_opened_again(file.flags) && is_found;
        let lie = || {
            let what = phrase!(
                "the image holds a file of a process that is not to be opened: {name}",
                name = shown_bytes(&record.name)
            );
            Problem::blocks(ProblemKind::Image, what)
        };
        (!is_possible).then(lie).into_iter().collect()
    }

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
        open(record, file.flags_again(), restore.threads).map_err(|errno| {
            let shown = record.path(record.process.unwrap_or(Pid(0)), record.thread);
            let what = phrase!("what tells of a process cannot be opened again: {why}", why = errno.desc());
            Problem::blocks(ProblemKind::File, what).at(shown)
        })
    }
}

/// Whether a file lies in the filesystem of processes, proc(5): a path can lead elsewhere.
fn is_of_processes(file: &impl AsFd) -> bool {
    const PROC: i64 = 0x9fa0;
    files::filesystem(file) == Ok(PROC)
}

fn open(record: &Record, flags: i32, threads: &BTreeSet<Tid>) -> Answer<OwnedFd> {
    let opened = if let Some(process) = record.process {
        let thread = record.thread.unwrap_or(process.leader());
        if !threads.contains(&thread) || !threads.contains(&process.leader()) {
            return Err(Errno::ESRCH);
        }
        let (process, thread) = record.called.unwrap_or((process, record.thread));
        files::open(Path::new(&record.path(process, thread)), flags)?
    } else {
        // It ends when it is dropped, behind the opening.
        let gone = Bystander::new(nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw(), None)?;
        let process = Pid(gone.tid().0);
        files::open(Path::new(&record.path(process, record.thread.map(|_| process.leader()))), flags)?
    };
    if is_of_processes(&opened) { Ok(opened) } else { Err(Errno::EINVAL) }
}

/// Places a file where it had been read to: when its process has nothing of the engine's any more, for some tell of its memory.
/// Where it cannot be placed any more, as where its process has ended, it is read from the start.
pub fn settle(file: &OpenFile, made: &OwnedFd) {
    let record = if file.kind == KIND { file.record.deserialized::<Record>().ok() } else { None };
    if record.is_some_and(|record| record.placed)
        && let Err(error) = files::set_position(made, file.position)
    {
        tracing::debug!(%error, "a file that tells of a process is read from its start");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_process_and_what_is_told_of_it() {
        let place = |process, thread: Option<i32>, name: &[u8]| {
            Some(Place { process: Pid(process), thread: thread.map(Tid), name: name.to_vec() })
        };
        assert_eq!(Place::parse(b"/proc/42/maps"), place(42, None, b"maps"));
        assert_eq!(Place::parse(b"/proc/42/task/43/stat (deleted)"), place(42, Some(43), b"stat"));
        assert_eq!(Place::parse(b"/proc/42"), place(42, None, b""));
        assert_eq!(Place::parse(b"/proc/42/task"), place(42, None, b"task"));
        assert_eq!(
            [&b"/proc/meminfo"[..], b"/proc/0/maps", b"/proc/4x/maps", b"/proc"].map(Place::parse),
            [const { None }; 4]
        );
    }

    #[test]
    fn what_gives_more_to_the_mighty_is_not_opened_again() {
        let may = |link: &[u8], flags| Place::parse(link).is_some_and(|place| place.may_be_opened_again(flags));
        assert!(may(b"/proc/1/maps", libc::O_RDONLY) && may(b"/proc/1/oom_score_adj", libc::O_WRONLY));
        for link in
            [&b"/proc/1/mem"[..], b"/proc/1/pagemap", b"/proc/1/root/etc/shadow", b"/proc/1/task/1/../../2/maps"]
        {
            assert!(!may(link, libc::O_RDONLY));
        }
        assert!(!may(b"/proc/1/maps", libc::O_RDWR) && !may(b"/proc/1/stack", libc::O_RDONLY));
    }

    #[test]
    fn of_a_process_outside_nothing_is_told() -> Result<(), Errno> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(());
        }
        for (thread, name) in [(None, "stat"), (Some(Tid(7)), "stat")] {
            let record = Record { process: None, thread, called: None, name: ByteBuf::from(name), placed: false };
            let opened = open(&record, libc::O_RDONLY, &BTreeSet::new())?;
            let mut text = Vec::new();
            let read = std::io::Read::read_to_end(&mut std::fs::File::from(opened), &mut text);
            assert_eq!(read.map_err(|error| error.raw_os_error()), Err(Some(libc::ESRCH)));
        }
        Ok(())
    }
}
