//! The files of a group, made by the engine before any process: the first process inherits them all, its children from
//! it, each under a number above every number the group uses itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use dormouse_wire::{Problem, ProblemKind, Tid, phrase};

use super::inner::InnerMade;
use super::stand_ins;
use crate::ThawOptions;
use crate::image::{PageBuffer, Reader};
use crate::kernel::identity::{Acting, Identity};
use crate::kernel::{files, limits};
use crate::resource::content;
use crate::resource::fd::{FileId, KINDS, Put, Restore, epoll, kind_named, nameless, process_file};
use crate::resource::group::{Group, Process};
use crate::resource::memory::layout::Executable;
use crate::resource::memory::mapping::Backing;
use crate::resource::named_file::{self, NamedFile};

/// The files.
#[derive(Debug)]
pub struct Objects {
    /// The lowest number of them.
    pub base: i32,
    /// Open file descriptions.
    open: BTreeMap<FileId, OwnedFd>,
    /// Mapped files with a name.
    mapped: Vec<OwnedFd>,
    /// Files without one.
    contents: Vec<File>,
    /// The ids of segments, and how long they are when they are attached.
    segments: Vec<(i32, u64)>,
    /// Their names in filesystems that were not there before.
    put: Vec<Put>,
    /// What of them is not as it was.
    pub losses: Vec<Problem>,
}

impl Objects {
    /// Makes all of them.
    pub fn make(group: &Group, reader: &Reader, inner: &InnerMade, options: &ThawOptions) -> Result<Self, Problem> {
        let base = base(group);
        let segments = group.segments.iter().map(|segment| (segment.id, segment.attached_length())).collect();
        let mut objects = Self {
            base,
            open: BTreeMap::new(),
            mapped: Vec::new(),
            contents: Vec::new(),
            segments,
            put: Vec::new(),
            losses: Vec::new(),
        };
        for file in &group.mapped_files {
            let (opened, told) = match &file.stand_in {
                Some(stand_in) => stand_ins::open(file, stand_in)?,
                None => (inner.among(file.mounts, || open_mapped(file))??, None),
            };
            objects.losses.extend(told);
            objects.mapped.push(objects.raise(&opened)?);
        }
        let mut buffer = PageBuffer::new();
        for (index, content) in group.contents.iter().enumerate() {
            let nameless = group.open_files.iter().find(|file| nameless(file) == Some(index)).map(|file| file.flags);
            let mut file = inner.among(content.mounts, || content.restore(nameless, reader, &mut buffer))??;
            if is_run(group, index) {
                // What anybody has open for writing cannot be run.
                file = content::reopen(&file, libc::O_RDONLY).map(File::from).map_err(|error| {
                    let what = phrase!("an executable without a name cannot be opened: {why}", why = error);
                    Problem::blocks(ProblemKind::DeletedFile, what).at(content.origin.shown())
                })?;
            }
            objects.contents.push(objects.raise(&file)?.into());
        }
        let opened = objects.open_all(group, reader, &mut buffer, (options, inner), None);
        // Whether all came into being or not.
        let noted = objects.note_names(group, inner, &BTreeSet::new());
        opened.and(noted).map(|()| objects)
    }

    /// Makes those that wait for the processes to be there; answers which.
    pub fn make_late(
        &mut self,
        group: &Group,
        reader: &Reader,
        (options, inner): (&ThawOptions, &InnerMade),
        threads: &BTreeSet<Tid>,
    ) -> Result<Vec<i32>, Problem> {
        let early: BTreeSet<FileId> = self.open.keys().copied().collect();
        let opened = self.open_all(group, reader, &mut PageBuffer::new(), (options, inner), Some(threads));
        let noted = self.note_names(group, inner, &early);
        opened.and(noted)?;
        let late = self.open.iter().filter(|(id, _)| !early.contains(id));
        Ok(late.map(|(_, file)| file.as_raw_fd()).collect())
    }

    /// Notes the names that files have been given in filesystems, but for those that were there before.
    fn note_names(&mut self, group: &Group, inner: &InnerMade, before: &BTreeSet<FileId>) -> Result<(), Problem> {
        for (id, made) in self.open.iter().filter(|(id, _)| !before.contains(id)) {
            let file = &group.open_files[id.0];
            let kind = kind_named(file)?;
            self.put.extend(inner.among(file.mounts, || kind.put(file, made))?);
        }
        Ok(())
    }

    /// Files that others need come first: a file is made when all it needs is there.
    fn open_all(
        &mut self,
        group: &Group,
        reader: &Reader,
        buffer: &mut PageBuffer,
        (options, inner): (&ThawOptions, &InnerMade),
        late: Option<&BTreeSet<Tid>>,
    ) -> Result<(), Problem> {
        let (mut other_ends, none) = (BTreeMap::new(), BTreeSet::new());
        let mut waiting = waiting(group, late.is_some())?;
        while !waiting.is_empty() {
            let (mut later, before) = (Vec::new(), waiting.len());
            for id in waiting {
                if self.open.contains_key(&id) {
                    continue;
                }
                let file = &group.open_files[id.0];
                let kind = kind_named(file)?;
                if kind.needs(file)?.iter().any(|needed| !self.open.contains_key(needed)) {
                    later.push(id);
                    continue;
                }
                let mut restore = Restore {
                    open_files: &group.open_files,
                    made: &mut self.open,
                    contents: &self.contents,
                    threads: late.unwrap_or(&none),
                    reader,
                    buffer,
                    terminal: options.terminal.as_deref(),
                    other_ends: &mut other_ends,
                    namespaces: inner.namespaces(),
                };
                let mounts = file.mounts.filter(|_| !kind.makes_several());
                let made = inner.among(mounts, || kind.restore(id, file, &mut restore))??;
                self.take(id, &made)?;
            }
            // Kinds may have made others along with their own, under low numbers.
            if later.len() == before {
                let what = phrase!("files of the image wait for each other in a circle");
                return Err(Problem::blocks(ProblemKind::Image, what));
            }
            waiting = later;
        }
        let mut restore = Restore {
            open_files: &group.open_files,
            made: &mut self.open,
            contents: &self.contents,
            threads: &none,
            reader,
            buffer,
            terminal: options.terminal.as_deref(),
            other_ends: &mut other_ends,
            namespaces: inner.namespaces(),
        };
        if late.is_none() {
            KINDS.iter().try_for_each(|kind| kind.complete(&mut restore))?;
        }
        self.raise_all()
    }

    /// Kinds may have made files under low numbers.
    fn raise_all(&mut self) -> Result<(), Problem> {
        let low: Vec<FileId> =
            self.open.iter().filter(|(_, file)| file.as_raw_fd() < self.base).map(|(id, _)| *id).collect();
        for id in low {
            let raised = self.raise(&self.open[&id])?;
            self.open.insert(id, raised);
        }
        Ok(())
    }

    fn take(&mut self, id: FileId, made: &OwnedFd) -> Result<(), Problem> {
        let raised = self.raise(made)?;
        self.open.insert(id, raised);
        Ok(())
    }

    fn raise(&self, file: &impl AsFd) -> Result<OwnedFd, Problem> {
        files::duplicate_above(file, self.base).map_err(|errno| {
            let what = phrase!("the group needs more open files than Dormouse may have: {why}", why = errno.desc());
            Problem::blocks(ProblemKind::Limit, what).way_out(phrase!("Raise the limit on open files (ulimit -n)"))
        })
    }

    /// The number under which every process being built has an open file.
    pub fn open_file(&self, id: FileId) -> Option<&OwnedFd> {
        self.open.get(&id)
    }

    /// The number under which every process being built has what a mapping shows: a descriptor, or the id of a segment.
    pub fn of_mapping(&self, backing: Backing) -> Option<i32> {
        match backing {
            Backing::File(file) => self.mapped.get(file).map(AsRawFd::as_raw_fd),
            Backing::Content(content) => self.contents.get(content).map(AsRawFd::as_raw_fd),
            Backing::Segment(segment) => self.segments.get(segment).map(|(id, _)| *id),
            Backing::Anonymous | Backing::Ring | Backing::Vdso | Backing::Vvar => None,
        }
    }

    /// The id of a segment, and how long it is when it is attached.
    pub fn segment(&self, segment: usize) -> Option<(i32, u64)> {
        self.segments.get(segment).copied()
    }

    /// The number under which every process being built has an executable.
    pub fn of_executable(&self, executable: Executable) -> Option<i32> {
        match executable {
            Executable::Named(file) => self.of_mapping(Backing::File(file)),
            Executable::Content(content) => self.of_mapping(Backing::Content(content)),
        }
    }

    /// Starts what has been standing still: the last thing before the group runs.
    pub fn start(&self, group: &Group, inner: &InnerMade) -> Result<(), Problem> {
        let start = |ready: bool| {
            self.open.iter().try_for_each(|(id, made)| {
                let file = &group.open_files[id.0];
                let kind = kind_named(file)?;
                if kind.starts_ready(file)? == ready {
                    inner.among(file.mounts, || kind.start(file, made))?
                } else {
                    Ok(())
                }
            })
        };
        start(true)?;
        epoll::settle(&group.open_files, &|id| self.open.get(&id).map(AsFd::as_fd))?;
        start(false)
    }

    /// Places what tells of the processes, once they are as they were.
    pub fn settle(&self, group: &Group) {
        for (id, made) in &self.open {
            process_file::settle(&group.open_files[id.0], made);
        }
    }

    /// The group runs: what has been put into filesystems is its own.
    pub fn keep(self) {
        self.put.into_iter().for_each(Put::keep);
    }

    /// Seals what was sealed, once the last mapping of it has been made.
    pub fn seal(&self, group: &Group) -> Result<(), Problem> {
        group.contents.iter().zip(&self.contents).try_for_each(|(content, file)| content.seal(file))
    }
}

/// The lowest number that no process of the group uses, with some for the engine below it.
fn base(group: &Group) -> i32 {
    let highest = group.file_tables.iter().flat_map(|table| &table.entries).map(|entry| entry.number.0).max();
    highest.max(epoll::highest(&group.open_files)).unwrap_or(0).max(100) + 1
}

/// Whether the engine may have as many files open as a thaw takes: of whoever has the highest number.
pub fn room(group: &Group) -> Option<Problem> {
    /// What processes are given by, and what is open for a moment only.
    const SPARE: u64 = 16;
    let files = group.open_files.len() + group.mapped_files.len() + group.contents.len();
    let needed = u64::from(base(group).unsigned_abs()) + files as u64 + SPARE;
    let most = limits::most_open_files();
    if needed <= most {
        return None;
    }
    let highest = |process: &&Process| {
        let table = process.alive().and_then(|alive| group.file_tables.get(alive.file_table));
        table.and_then(|table| table.entries.last()).map(|entry| entry.number)
    };
    let what = phrase!("a thaw of it takes {needed} open files, and Dormouse may have {most}", needed, most);
    let problem =
        Problem::blocks(ProblemKind::Limit, what).way_out(phrase!("Raise the limit on open files (ulimit -n)"));
    let of = group.processes.iter().max_by_key(highest);
    Some(of.map_or(problem.clone(), |process| problem.of(&process.shown())))
}

/// The files that are made before the processes, or those that are made after.
fn waiting(group: &Group, late: bool) -> Result<Vec<FileId>, Problem> {
    let mut waiting = Vec::new();
    for (id, file) in group.open_files.iter().enumerate() {
        if kind_named(file)?.is_late() == late {
            waiting.push(FileId(id));
        }
    }
    Ok(waiting)
}

/// Whether a file without a name is what a process runs.
fn is_run(group: &Group, content: usize) -> bool {
    let mut alive = group.processes.iter().filter_map(Process::alive);
    alive.any(|alive| alive.memory.layout.executable == Executable::Content(content))
}

fn open_mapped(file: &NamedFile) -> Result<OwnedFd, Problem> {
    let problem = |errno: nix::errno::Errno| {
        let what = phrase!("a mapped file cannot be opened as its owner: {why}", why = errno.desc());
        Problem::blocks(ProblemKind::File, what).at(file.shown())
    };
    let _acting = Acting::begin(&Identity::from(&file.owner)).map_err(problem)?;
    let opened =
        files::open(&file.path(), if file.writable { libc::O_RDWR } else { libc::O_RDONLY }).map_err(problem)?;
    // Who could not open it himself gets no other file through who can.
    if file.ends.is_some() {
        let opened = File::from(opened);
        if named_file::ends(&opened, file.size).ok() != file.ends {
            return Err(file.is_another());
        }
        return Ok(opened.into());
    }
    Ok(opened)
}
