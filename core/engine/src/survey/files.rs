//! Which descriptors of a group stand for the same open file description: those that kcmp(2) calls equal.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use dormouse_wire::{FdNumber, Pid, Problem, ProblemKind, Tid, phrase};

use super::collect::{LivingFacts, ProcessFacts};
use super::in_flight::Look;
use crate::Selection;
use crate::kernel::{Errno, files, kcmp, limits, pidfd};
use crate::proc::{self, fdinfo};
use crate::resource::fd::locks::SeenLock;
use crate::resource::fd::{Entry, FileFacts, FileId, FileTable, FilesFacts};
use crate::resource::named_file::Owner;

/// The open files of a group.
#[derive(Debug, Default)]
pub struct OpenFiles {
    /// The files.
    pub facts: FilesFacts,
    /// The tables of descriptors.
    pub tables: Vec<FileTable>,
    /// Which table a process has.
    pub table_of: HashMap<Pid, usize>,
}

/// What must be equal for two descriptors to be worth a kcmp: device, inode, flags, position.
type Likeness = (u64, u64, u32, i64);

/// Collects the open files of the processes; `queues`: how closely what waits in their sockets is looked at.
pub fn collect(processes: &[ProcessFacts], queues: Look, selection: &Selection) -> Result<OpenFiles, Vec<Problem>> {
    let mut found = Collector {
        open: OpenFiles::default(),
        alike: HashMap::new(),
        owners: kcmp::Owners::of(kcmp::Shared::Files),
        most: limits::most_open_files(),
        problems: Vec::new(),
    };
    found.open.facts.disconnect = selection.disconnect.clone();
    found.open.facts.keep_connections = selection.keep_connections;
    found.open.facts.members = processes.iter().map(|process| process.pid).collect();
    for process in processes {
        // Without room for one more nothing can be looked at, and all would be told of it again.
        if let Err(full) = found.process(process) {
            return Err(vec![full]);
        }
    }
    found.problems.extend(super::in_flight::collect(&mut found.open.facts, queues, &networks(processes)).err());
    if found.problems.is_empty() { Ok(found.open) } else { Err(found.problems) }
}

/// The networks of processes that are not in that of the engine.
fn networks(processes: &[ProcessFacts]) -> Vec<OwnedFd> {
    let network =
        |living: &LivingFacts| living.namespaces.iter().find(|(kind, _)| *kind == "net").map(|(_, inode)| *inode);
    let own = proc::ns::read(Pid(std::process::id() as i32), "net").map(|link| link.inode).ok();
    let mut known: BTreeSet<u64> = own.into_iter().collect();
    let new = |process: &ProcessFacts| {
        let living = process.living.as_ref()?;
        let link = proc::thread_folder(process.pid, living.speaker).join("ns/net");
        let is_new = network(living).is_some_and(|network| known.insert(network));
        is_new.then(|| files::open(&link, libc::O_RDONLY).ok()).flatten()
    };
    processes.iter().filter_map(new).collect()
}

struct Collector {
    open: OpenFiles,
    alike: HashMap<Likeness, Vec<FileId>>,
    /// Who has the tables.
    owners: kcmp::Owners,
    /// So many files we may have open.
    most: u64,
    problems: Vec<Problem>,
}

/// So many of them are for everything else.
const SPARE: u64 = 16;

impl Collector {
    /// Fails where we cannot have open all that the group has.
    fn process(&mut self, process: &ProcessFacts) -> Result<(), Problem> {
        let Some(living) = &process.living else { return Ok(()) };
        let speaker = living.speaker;
        let numbers = match proc::list_thread_fds(process.pid, speaker) {
            Ok(numbers) => numbers,
            Err(error) => {
                self.problems.push(Problem::blocks(ProblemKind::Process, error.said()).of(&process.shown));
                return Ok(());
            }
        };
        match self.owners.find_or_add(speaker) {
            Ok(shared) => {
                self.open.table_of.insert(process.pid, shared);
                return Ok(());
            }
            Err(new) => self.open.table_of.insert(process.pid, new),
        };
        let mut table = FileTable::default();
        let handle =
            if speaker == process.pid.leader() { pidfd::open(process.pid) } else { pidfd::open_thread(speaker) };
        match handle {
            Ok(handle) => {
                for number in numbers {
                    self.is_room(process)?;
                    match self.descriptor(process, speaker, handle.as_fd(), number) {
                        Ok(entry) => table.entries.push(entry),
                        Err(problem) => self.problems.push(problem),
                    }
                }
            }
            Err(errno) => self.problems.push(
                Problem::blocks(ProblemKind::Process, phrase!("it cannot be opened: {why}", why = errno.desc()))
                    .of(&process.shown),
            ),
        }
        self.open.tables.push(table);
        Ok(())
    }

    /// The kernel gives the lowest number that is free: what has been opened last tells how much room there is.
    fn is_room(&self, process: &ProcessFacts) -> Result<(), Problem> {
        let last = self.open.facts.files.last().map_or(0, |last| last.file.as_raw_fd().unsigned_abs().into());
        if last + SPARE < self.most {
            return Ok(());
        }
        let what = phrase!("with its files the group has more open than Dormouse may have: {most}", most = self.most);
        let problem = Problem::blocks(ProblemKind::Limit, what).of(&process.shown);
        Err(problem.way_out(phrase!("Raise the limit on open files (ulimit -n)")))
    }

    fn descriptor(
        &mut self,
        process: &ProcessFacts,
        speaker: Tid,
        handle: std::os::fd::BorrowedFd<'_>,
        number: FdNumber,
    ) -> Result<Entry, Problem> {
        let unreadable = |what: &dyn std::fmt::Display| {
            let problem = Problem::blocks(ProblemKind::File, phrase!("it cannot be looked at: {what}", what));
            problem.of(&process.shown).at(phrase!("descriptor {number}", number))
        };
        let kernel = |errno: Errno| unreadable(&errno.desc());
        let file = File::from(pidfd::get_fd(handle, number).map_err(kernel)?);
        let info = proc::parsed_thread(process.pid, speaker, &format!("fdinfo/{number}"), fdinfo::parse);
        let info = info.map_err(|error| unreadable(&error))?;
        let stat = files::stat(&file).map_err(kernel)?;
        let close_on_exec = info.flags as i32 & libc::O_CLOEXEC != 0;
        let flags = info.flags & !(libc::O_CLOEXEC as u32);
        let likeness = (stat.st_dev, stat.st_ino, flags, info.position);
        for known in self.alike.get(&likeness).into_iter().flatten() {
            let facts = &mut self.open.facts.files[known.0];
            let (holder, held) = facts.holders[0];
            let same = kcmp::files((Tid(holder.0), held), (speaker, number));
            if same.or_else(|_| kcmp::files((holder.leader(), held), (speaker, number))).map_err(kernel)?
                == Ordering::Equal
            {
                facts.holders.push((process.pid, number));
                facts.locks.extend(locks(process.pid, number, &info));
                let file = facts.id;
                self.open.facts.by_descriptor.insert((process.pid, number), file);
                return Ok(Entry { number, file, close_on_exec });
            }
        }
        let id = FileId(self.open.facts.files.len());
        let link =
            proc::link_thread(process.pid, speaker, &format!("fd/{number}")).map_err(|error| unreadable(&error))?;
        self.open.facts.files.push(FileFacts {
            id,
            file,
            holders: vec![(process.pid, number)],
            process: process.shown.clone(),
            link,
            stat,
            locks: locks(process.pid, number, &info).collect(),
            info,
            owner: owner(process),
            mounts: None,
            tells_of: None,
        });
        self.open.facts.by_descriptor.insert((process.pid, number), id);
        self.alike.entry(likeness).or_default().push(id);
        Ok(Entry { number, file: id, close_on_exec })
    }
}

/// The locks that a descriptor shows.
fn locks(pid: Pid, number: FdNumber, info: &fdinfo::FdInfo) -> impl Iterator<Item = SeenLock> {
    info.locks().map(move |lock| SeenLock { pid, number, lock: lock.clone() })
}

/// With whose rights a process opens files.
pub fn owner(process: &ProcessFacts) -> Owner {
    Owner {
        user: process.status.uid.filesystem,
        group: process.status.gid.filesystem,
        groups: process.status.groups.clone(),
    }
}
