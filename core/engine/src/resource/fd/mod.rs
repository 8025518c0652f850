//! What a descriptor stands for: one file a kind, each with its record.
//!
//! A kind implements [`FileKind`] with a typed record; [`KINDS`] lists them with the types erased. The first kind that
//! claims a file has it; the last one, [`unknown`], claims everything and refuses it by name.

mod content;
pub use content::{Contents, nameless, not_made, origin_of};
mod device;
pub mod epoll;
mod erased;
pub use erased::AnyFileKind;
use erased::typed;
mod eventfd;
pub mod fanotify;
mod fifo;
mod inotify;
pub mod leases;
mod linked;
pub mod locks;
pub mod message_queue;
mod mounts;
pub use mounts::MountsWithin;
mod named;
pub use named::{own_path, path_of, shown_bytes};
pub mod network;
pub mod notify;
mod outside;
pub use outside::{Holder, subject};
mod pidfd;
mod pipe;
mod put;
pub use put::Put;
pub mod process_file;
pub mod pty;
pub mod regular;
mod signalfd;
mod socket_filter;
pub mod terminal;
mod timerfd;
pub mod unix;
mod unknown;
pub mod watched;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::os::fd::OwnedFd;

use dormouse_wire::{Disconnect, FdNumber, Phrase, Pid, Problem, ProblemKind, ProcessName, Tid, phrase};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::moves::Moving;
use super::named_file::NamedFile;
use super::named_file::Owner;
use super::owners::Walk;
use crate::image::{PageBuffer, PageSink, Reader};
use crate::proc::fdinfo::FdInfo;
use crate::puppet::Batch;

/// A table of descriptors, open(2); shared by tasks made with CLONE_FILES.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTable {
    /// The descriptors, by number.
    pub entries: Vec<Entry>,
}

/// A descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number.
    pub number: FdNumber,
    /// The open file description it stands for: an index.
    pub file: FileId,
    /// FD_CLOEXEC.
    pub close_on_exec: bool,
}

/// An open file description: its index in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileId(pub usize);

/// The record of an open file description, open(2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenFile {
    /// The name of its kind.
    pub kind: String,
    /// O_*: access mode and status flags, but for O_ASYNC.
    pub flags: i32,
    /// Position in bytes.
    pub position: i64,
    /// Who is told of I/O.
    pub notify: Option<notify::Notify>,
    /// The network within the group that a socket belongs to, by its place in the list of namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<usize>,
    /// Among which mounts within the group it is opened, by the place of those in the list of namespaces; none: those of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mounts: Option<usize>,
    /// Its locks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<locks::FileLock>,
    /// The lease that was taken through it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<leases::Lease>,
    /// What its kind knows.
    pub record: ciborium::Value,
}

/// What the survey sees of an open file description.
#[derive(Debug)]
pub struct FileFacts {
    /// Its index.
    pub id: FileId,
    /// A duplicate of it: the same open file description.
    pub file: File,
    /// Who holds it, under which numbers; nobody where it is only on its way in a socket.
    pub holders: Vec<(Pid, FdNumber)>,
    /// The first holder, for a person.
    pub process: ProcessName,
    /// Where /proc/PID/fd/N leads.
    pub link: Vec<u8>,
    /// Type, device, inode, size, fstat(2).
    pub stat: libc::stat,
    /// proc_pid_fdinfo(5).
    pub info: FdInfo,
    /// The locks taken through it, as each of its holders shows them.
    pub locks: Vec<locks::SeenLock>,
    /// With whose rights it is opened again.
    pub owner: Owner,
    /// Among which mounts within the group it was opened, if not among those of the others.
    pub mounts: Option<MountsWithin>,
    /// Of a file of proc(5) that shows a pid namespace within the group: the process that it tells of, and its thread, as the engine calls
    /// them.
    pub tells_of: Option<(Pid, Option<Tid>)>,
}

impl FileFacts {
    /// The type of the file, `S_IF*`.
    pub fn file_type(&self) -> u32 {
        self.stat.st_mode & libc::S_IFMT
    }

    /// For a person: `descriptor 3 (/tmp/x)`.
    pub fn shown(&self) -> Phrase {
        let link: String = String::from_utf8_lossy(&self.link).chars().flat_map(char::escape_debug).collect();
        match self.holders.first() {
            Some((_, number)) => phrase!("descriptor {number} ({link})", number, link),
            None => phrase!("a descriptor on its way in a socket ({link})", link),
        }
    }

    /// A problem with this file.
    pub fn problem(&self, kind: ProblemKind, what: Phrase) -> Problem {
        Problem::blocks(kind, what).of(&self.process).at(self.shown())
    }

    /// A loss at this file.
    pub fn loss(&self, kind: ProblemKind, what: Phrase, loss: Phrase) -> Problem {
        Problem::loses(kind, what, loss).of(&self.process).at(self.shown())
    }

    /// The access mode, `O_ACCMODE`.
    pub fn access(&self) -> i32 {
        self.info.flags as i32 & libc::O_ACCMODE
    }
}

/// All files of a group, for kinds that refer to others.
#[derive(Debug, Default)]
pub struct FilesFacts {
    /// The files by index.
    pub files: Vec<FileFacts>,
    /// Which file a descriptor stands for.
    pub by_descriptor: HashMap<(Pid, FdNumber), FileId>,
    /// The pids that belong to the group.
    pub members: Vec<Pid>,
    /// What is seen of the unix sockets among them.
    pub sockets: unix::facts::Sockets,
    /// Which connections that lead out of the group are to be cut.
    pub disconnect: Disconnect,
    /// Whether TCP connections that lead out of it are to be kept.
    pub keep_connections: bool,
    /// What is seen of those of the network.
    network: network::Seen,
    /// Who else holds what the group has open; looked up when it is first asked for.
    outside: std::cell::OnceCell<outside::Outside>,
}

impl FilesFacts {
    /// The files of the same device and inode: the ends of one pipe, the openings of one file.
    pub fn of_inode(&self, stat: &libc::stat) -> impl Iterator<Item = &FileFacts> {
        let wanted = (stat.st_dev, stat.st_ino);
        self.files.iter().filter(move |file| (file.stat.st_dev, file.stat.st_ino) == wanted)
    }

    /// Processes outside the group that have this inode open: the other end of a pipe, another opening of a file.
    pub fn held_outside(&self, stat: &libc::stat) -> &[Holder] {
        self.held_outside_at((stat.st_dev, stat.st_ino))
    }

    /// Looks now who else holds what the group has open.
    pub fn look_outside(&self) {
        self.outside.get_or_init(|| outside::Outside::scan(self));
    }

    /// The same by device and inode number.
    pub fn held_outside_at(&self, place: (u64, u64)) -> &[Holder] {
        self.outside.get_or_init(|| outside::Outside::scan(self)).holders(place)
    }

    /// Processes outside the group whose controlling terminal this is, where the group has its master.
    pub fn on_terminal_outside(&self, device: (u32, u32)) -> &[ProcessName] {
        self.outside.get_or_init(|| outside::Outside::scan(self)).on_terminal(device)
    }

    /// A process outside the group that holds the very same open file description.
    pub fn shared_outside(&self, facts: &FileFacts) -> Option<&Holder> {
        self.held_outside(&facts.stat).iter().find(|holder| holder.shares(facts))
    }

    /// The problem of a file whose open file description a process outside the group holds too, if one does.
    pub fn refuse_shared(&self, facts: &FileFacts, kind: ProblemKind) -> Vec<Problem> {
        let problem = |holder: &Holder| {
            let what = phrase!("{process} holds it too and is not part of the group", process = holder.process);
            facts.problem(kind, what).way_out(phrase!("Freeze them together, or let that process close it"))
        };
        self.shared_outside(facts).map(problem).into_iter().collect()
    }
}

/// What a kind may use while it captures.
#[derive(Debug)]
pub struct Capture<'a> {
    /// All files.
    pub files: &'a FilesFacts,
    /// Where pages go.
    pub sink: &'a PageSink,
    /// A buffer for them.
    pub buffer: &'a mut PageBuffer,
    /// Contents of files without a name, as far as they have been captured.
    pub contents: &'a mut Contents,
}

/// What a kind may use while it gives back.
#[derive(Debug)]
pub struct Restore<'a> {
    /// All records.
    pub open_files: &'a [OpenFile],
    /// The files made so far, by index.
    pub made: &'a mut BTreeMap<FileId, OwnedFd>,
    /// Files without a name, made already, by index of their content.
    pub contents: &'a [File],
    /// The threads of the group, by the time they are there.
    pub threads: &'a BTreeSet<Tid>,
    /// The image, for content.
    pub reader: &'a Reader,
    /// A buffer for it.
    pub buffer: &'a mut PageBuffer,
    /// The terminal that takes the place of one outside the group.
    pub terminal: Option<&'a std::path::Path>,
    /// Other ends of files, by whose other end they are, that the group does not have: there until all is in the files
    /// that is to come from them.
    pub other_ends: &'a mut BTreeMap<FileId, OwnedFd>,
    /// The networks and mounts within the group, by their places in the list of namespaces.
    pub namespaces: &'a [Option<OwnedFd>],
}

/// What a kind does to a descriptor inside a process, once the process has all its descriptors.
#[derive(Debug)]
pub struct Finish<'a> {
    /// The process.
    pub pid: Pid,
    /// The descriptor.
    pub number: FdNumber,
    /// The table it stands in.
    pub table: &'a FileTable,
    /// Calls that the process makes.
    pub batch: &'a mut Batch,
}

/// A kind of open file.
pub trait FileKind: Sync {
    /// What the image says of one.
    type Record: Serialize + DeserializeOwned;

    /// Its name in the image.
    fn name(&self) -> &'static str;

    /// Whether this file is of this kind.
    fn claims(&self, facts: &FileFacts) -> bool;

    /// What stands in the way, and what would be lost. Nothing is touched.
    fn judge(&self, _facts: &FileFacts, _files: &FilesFacts) -> Vec<Problem> {
        Vec::new()
    }

    /// Makes the record.
    fn capture(&self, facts: &FileFacts, capture: &mut Capture<'_>) -> Result<Self::Record, Problem>;

    /// Leads what the record says of paths to where they have moved.
    fn moved(&self, _record: &mut Self::Record, _moving: &mut Moving<'_>) {}

    /// Leads what the record says of users and groups to the numbers that they have here.
    fn led(&self, _record: &mut Self::Record, _walk: &mut Walk<'_>) {}

    /// The file that it is opened by name, if it is one.
    fn named_file<'a>(&self, _record: &'a mut Self::Record) -> Option<&'a mut NamedFile> {
        None
    }

    /// What is in the way of giving it back here. Nothing exists yet.
    fn preflight(&self, _record: &Self::Record, _file: &OpenFile) -> Vec<Problem> {
        Vec::new()
    }

    /// Whether it is made when the processes are there, and given to each of them then.
    fn is_late(&self) -> bool {
        false
    }

    /// Whether it makes several at once, and goes for each to where that belongs.
    fn makes_several(&self) -> bool {
        false
    }

    /// Files that must be made before this one.
    fn needs(&self, _record: &Self::Record) -> Vec<FileId> {
        Vec::new()
    }

    /// Makes it. It may make others of the same thing along with it, such as the other end of a pair, and put them
    /// into `restore.made`.
    fn restore(
        &self,
        record: &Self::Record,
        id: FileId,
        file: &OpenFile,
        restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem>;

    /// Does what can be done only when all files of all kinds have been made; once for the kind.
    fn complete(&self, _restore: &mut Restore<'_>) -> Result<(), Problem> {
        Ok(())
    }

    /// The name that it has been given in a filesystem: it goes again if the thaw fails.
    fn put(&self, _record: &Self::Record, _made: &OwnedFd) -> Option<Put> {
        None
    }

    /// What remains to be done from inside the first process that holds it.
    fn finish(&self, _record: &Self::Record, _finish: &mut Finish<'_>) {}

    /// Whether it is started before sets settle what their programs have been told of: it is ready from the start on.
    fn starts_ready(&self, _record: &Self::Record) -> bool {
        false
    }

    /// What begins to run when the group does, such as a timer: done by the engine when all else is in place.
    fn start(&self, _record: &Self::Record, _file: &OpenFile, _made: &OwnedFd) -> Result<(), Problem> {
        Ok(())
    }
}

/// Every kind, in the order in which they are asked.
pub const KINDS: &[&dyn AnyFileKind] = &[
    &message_queue::MessageQueue,
    &process_file::ProcessFile,
    &linked::Linked,
    &content::ContentFile,
    &regular::Regular,
    &device::Device,
    &pipe::Pipe,
    &fifo::Fifo,
    &eventfd::Eventfd,
    &timerfd::Timerfd,
    &signalfd::Signalfd,
    &epoll::Epoll,
    &inotify::Inotify,
    &fanotify::Fanotify,
    &pidfd::Pidfd,
    &pty::Master,
    &terminal::Terminal,
    &unix::Unix,
    &network::tcp::Tcp,
    &network::datagram::Datagrams,
    &network::netlink::Netlink,
    &network::packet::Packets,
    &network::other::Other,
    &unknown::Unknown,
];

/// The kind of a file that the survey has found.
pub fn kind_of(facts: &FileFacts) -> &'static dyn AnyFileKind {
    KINDS.iter().copied().find(|kind| kind.claims(facts)).unwrap_or(&unknown::Unknown)
}

/// The kind of a file in an image.
pub fn kind_named(file: &OpenFile) -> Result<&'static dyn AnyFileKind, Problem> {
    KINDS.iter().copied().find(|kind| kind.name() == file.kind).ok_or_else(|| {
        let what =
            phrase!("the image holds a file of kind \"{kind}\", which this version does not know", kind = file.kind);
        Problem::blocks(ProblemKind::Image, what).way_out(phrase!("Thaw it with a newer version of Dormouse"))
    })
}

/// The record of a file.
pub fn capture(facts: &FileFacts, capture: &mut Capture<'_>) -> Result<OpenFile, Problem> {
    facts.among_its_mounts(|| captured(facts, capture)).map_err(MountsWithin::unseen)?
}

fn captured(facts: &FileFacts, capture: &mut Capture<'_>) -> Result<OpenFile, Problem> {
    let kind = kind_of(facts);
    Ok(OpenFile {
        kind: kind.name().to_owned(),
        flags: facts.info.flags as i32 & !(libc::O_CLOEXEC | libc::O_ASYNC),
        position: facts.info.position,
        notify: notify::capture(facts, capture.files)?,
        network: None,
        mounts: facts.mounts.as_ref().map(|mounts| mounts.index),
        lease: leases::capture(facts)?,
        locks: locks::capture(facts),
        record: kind.capture(facts, capture)?,
    })
}

/// What stands in the way of freezing a file, whatever its kind, and what would be lost.
pub fn judge(facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
    facts.among_its_mounts(|| judged(facts, files)).unwrap_or_else(|errno| vec![MountsWithin::unseen(errno)])
}

fn judged(facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
    let of_kind = kind_of(facts).judge(facts, files).into_iter();
    of_kind.chain(locks::judge(facts, files)).chain(notify::judge(facts, files)).chain(leases::judge(facts)).collect()
}

/// Flags that open(2) takes and that stay with the description.
pub const STATUS_FLAGS: i32 = libc::O_APPEND | libc::O_DIRECT | libc::O_NOATIME | libc::O_NONBLOCK;

/// What open(2) adds on 64 bits, and pipe(2) does not; the C library hides its value there.
pub const O_LARGEFILE: i32 = if cfg!(target_arch = "aarch64") { 0o400_000 } else { 0o100_000 };
