//! The record of a whole group: what the image's section `Group` holds.

use std::collections::HashMap;

use dormouse_wire::{Pid, Problem, ProcessName, Tid};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::clocks::Clocks;
use super::content::Content;
use super::fd::{FileTable, OpenFile, kind_named};
use super::memory::Memory;
use super::memory::segment::Segment;
use super::memory::vdso::Vdso;
use super::moves::{Move, Moving, Shown};
use super::named_file::NamedFile;
use super::namespace::Namespaces;
use super::namespace::inner::{Inner, Place, called_at};
use super::namespace::mount::{Filesystem as MountedFilesystem, Mount};
use super::system_v::queue::Queue;
use super::system_v::semaphores::Set;
use super::task::attributes::{ProcessAttributes, ThreadAttributes};
use super::task::control_group::ControlGroup;
use super::task::credentials::Credentials;
use super::task::dispatch::Dispatch;
use super::task::family::Family;
use super::task::filesystem::Filesystem;
use super::task::futexes::Futexes;
use super::task::interrupted::InterruptedCall;
use super::task::limits::Limits;
use super::task::registers::Registers;
use super::task::scheduling::Scheduling;
use super::task::seccomp::{Filter, Seccomp};
use super::task::signals::{Disposition, ThreadSignals};
use super::task::stop::Stop;
use super::task::timers::Timers;
use super::task::zombie::Zombie;
use crate::kernel::processor::Component;

/// A frozen group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its processes, each after its parent.
    pub processes: Vec<Process>,
    /// Tables of descriptors, by [`Alive::file_table`].
    pub file_tables: Vec<FileTable>,
    /// Places in the filesystem, by [`Alive::filesystem`].
    pub filesystems: Vec<Filesystem>,
    /// Open file descriptions.
    pub open_files: Vec<OpenFile>,
    /// What holds off the other ends of its connections to outside, which are kept: an identifier that nobody else knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// The vdso its processes had.
    pub vdso: Option<Vdso>,
    /// The vdso those had that are 32-bit programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub narrow_vdso: Option<Vdso>,
    /// Files that are mapped.
    pub mapped_files: Vec<NamedFile>,
    /// Files without a name, whose content is in the image.
    pub contents: Vec<Content>,
    /// System V shared memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<Segment>,
    /// Sets of System V semaphores.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub semaphores: Vec<Set>,
    /// System V message queues.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<Queue>,
    /// Namespaces that only some of its processes live in, each behind those that it lies in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inner: Vec<Inner>,
    /// The filesystems that are mounted in those for mounts, and are not of the outside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounted: Vec<MountedFilesystem>,
    /// The control groups that its processes and threads are in, and those above these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub control_groups: Vec<ControlGroup>,
    /// Where the parts of the extended registers lie in the areas of its threads.
    pub components: Vec<Component>,
    /// The clocks at the freeze.
    pub clocks: Clocks,
    /// The window size and settings of the terminal outside the group that its job was on.
    pub terminal: Option<OutsideTerminal>,
}

impl Group {
    /// Leads what it and the namespaces it had for itself say of paths to where they have moved; what of that cannot be meant.
    pub fn moved(&mut self, moves: &[Move], namespaces: Option<&mut Namespaces>) -> Vec<Problem> {
        if moves.is_empty() {
            return Vec::new();
        }
        let shown = namespaces.as_ref().map(|namespaces| namespaces.mounts.shown());
        let mut moving = Moving::new(moves, shown);
        if let Some(namespaces) = namespaces {
            namespaces.mounts.moved(&mut moving);
        }
        let further_in: Vec<Vec<Shown>> =
            self.inner.iter().map(|inner| inner.mounts.iter().map(Mount::shown).collect()).collect();
        for inner in &mut self.inner {
            inner.mounts.iter_mut().for_each(|mount| mount.moved(|path| moving.path(path)));
        }
        self.mounted.iter_mut().for_each(|filesystem| filesystem.moved(|path| moving.path(path)));
        let homes: HashMap<usize, usize> = self.homes().collect();
        for (index, place) in self.filesystems.iter_mut().enumerate() {
            let home = homes.get(&index).and_then(|mounts| further_in.get(*mounts));
            among(&mut moving, home, |moving| place.moved(moving));
        }
        let within = |mounts: Option<usize>| mounts.and_then(|mounts| further_in.get(mounts));
        for file in &mut self.mapped_files {
            among(&mut moving, within(file.mounts), |moving| file.moved(moving));
        }
        for content in &mut self.contents {
            among(&mut moving, within(content.mounts), |moving| content.moved(moving));
        }
        for file in &mut self.open_files {
            // A kind that is not known is told by the preflight.
            if let Ok(kind) = kind_named(file) {
                among(&mut moving, within(file.mounts), |moving| kind.moved(file, moving));
            }
        }
        moving.problems()
    }

    /// Which places in the filesystem lie among mounts within the group.
    fn homes(&self) -> impl Iterator<Item = (usize, usize)> {
        self.processes.iter().filter_map(|process| Some((process.alive()?.filesystem, process.place.mnt?)))
    }
}

fn among(moving: &mut Moving<'_>, mounts: Option<&Vec<Shown>>, work: impl FnOnce(&mut Moving<'_>)) {
    match mounts {
        None => work(moving),
        Some(mounts) => moving.among(mounts, work),
    }
}

/// A terminal that was not part of the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideTerminal {
    /// Its name then.
    pub name: ByteBuf,
    /// `struct termios2` of the kernel (TCGETS2).
    pub settings: ByteBuf,
    /// Rows, columns, width and height in pixels.
    pub size: [u16; 4],
    /// The process group in its foreground, if it belongs to the group.
    pub foreground: Option<Pid>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Its pid and its place among the others.
    pub family: Family,
    /// Its name.
    pub name: ByteBuf,
    /// In which namespaces within the group it lives.
    #[serde(default, skip_serializing_if = "Place::is_usual")]
    pub place: Place,
    /// What it is called in each pid namespace further in, the innermost last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inner: Vec<i32>,
    /// What it is.
    pub life: Life,
}

impl Process {
    /// Its pid.
    pub fn pid(&self) -> Pid {
        self.family.pid
    }

    /// Its name, for a person.
    pub fn shown(&self) -> ProcessName {
        ProcessName { pid: self.pid(), comm: String::from_utf8_lossy(&self.name).into_owned() }
    }

    /// What it holds, if it lives.
    pub fn alive(&self) -> Option<&Alive> {
        match &self.life {
            Life::Alive(alive) => Some(alive),
            Life::Zombie(_) => None,
        }
    }
}

/// Whether a process lives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Life {
    /// It lives.
    Alive(Box<Alive>),
    /// It has ended, and nobody has asked for it yet.
    Zombie(Zombie),
}

/// All that a living process holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alive {
    /// It is a 32-bit program (i386), with the vdso of such programs and handlers of signals as they have.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ia32: bool,
    /// Whether it was stopped.
    pub stop: Stop,
    /// Its threads, the leader first.
    pub threads: Vec<Thread>,
    /// Its memory.
    pub memory: Memory,
    /// Its table of descriptors, an index.
    pub file_table: usize,
    /// Its place in the filesystem, an index.
    pub filesystem: usize,
    /// Its dispositions of signals that differ from the default.
    pub dispositions: Vec<Disposition>,
    /// Signals that wait for the process, oldest first.
    pub pending: Vec<ByteBuf>,
    /// Its timers.
    pub timers: Timers,
    /// Its limits.
    pub limits: Limits,
    /// Its small things.
    pub attributes: ProcessAttributes,
    /// Filters that confine its threads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
    /// Its control groups, one of each hierarchy, indices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub control_groups: Vec<usize>,
}

impl Alive {
    /// Whether system calls must be made in it as 32-bit programs make them, so that what these point to must lie where such a
    /// program could have it.
    pub fn is_narrow(&self) -> bool {
        let calls = |thread: &Thread| {
            thread.futexes.narrow_robust_list != 0 || thread.interrupted.is_some_and(|call| call.ia32)
        };
        self.ia32 || self.threads.iter().any(calls)
    }

    /// The thread group leader.
    pub fn leader(&self) -> Option<&Thread> {
        self.threads.first()
    }
}

/// A thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thread {
    /// Its id.
    pub tid: Tid,
    /// What it is called in each pid namespace further in, the innermost last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inner: Vec<i32>,
    /// For a leader that has exited while other threads live: its exit code.
    pub exited: Option<i32>,
    /// Registers.
    pub registers: Registers,
    /// Mask, alternate stack, waiting signals.
    pub signals: ThreadSignals,
    /// Users, groups, capabilities.
    pub credentials: Credentials,
    /// Scheduling.
    pub scheduling: Scheduling,
    /// Registrations with the kernel.
    pub futexes: Futexes,
    /// Small things.
    pub attributes: ThreadAttributes,
    /// What becomes of its system calls.
    pub dispatch: Dispatch,
    /// Which of them it may make.
    #[serde(default)]
    pub seccomp: Seccomp,
    /// A system call that has to be made good.
    pub interrupted: Option<InterruptedCall>,
    /// Its control groups, where they are not those of the process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub control_groups: Vec<usize>,
}

impl Thread {
    /// What it is called in the pid namespace that it lives in.
    pub fn called(&self) -> Tid {
        Tid(called_at(self.tid.0, &self.inner, self.inner.len()))
    }
}
