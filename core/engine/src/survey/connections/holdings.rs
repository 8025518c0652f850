//! What one process holds that others may hold too.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;

use dormouse_wire::{FdNumber, Pid, ProcessName, Tid};
use nix::fcntl::{AtFlags, readlinkat};
use nix::sys::stat::fstatat;

use crate::kernel::files::{self, Place};
use crate::proc::maps::{Mapping, parse_maps};
use crate::proc::{self, ProcError, fdinfo, stat};

/// What a process holds.
#[derive(Clone, Debug)]
pub struct Holdings {
    /// The process.
    pub name: ProcessName,
    /// Its parent.
    pub parent: Pid,
    /// Who traces it.
    pub tracer: Option<Pid>,
    /// Its controlling terminal.
    pub terminal: Option<(u32, u32)>,
    /// Its descriptors.
    pub descriptors: Vec<Descriptor>,
    /// Its shared mappings.
    pub shared: Vec<Mapping>,
    /// The inode of the network namespace it is in; `None` where the caller may not know.
    pub network: Option<u64>,
    /// It has memory: it has not ended, and is no thread of the kernel.
    pub lives: bool,
    /// Where its code and its stack begin: fork(2) and clone(2) leave them as they are.
    pub program: [u64; 2],
    /// Its umask, umask(2).
    pub umask: Option<u32>,
    /// Its descriptors or its memory may not be looked at.
    pub closed: bool,
}

/// A descriptor.
#[derive(Clone, Debug)]
pub struct Descriptor {
    /// Its number.
    pub number: FdNumber,
    /// Where the link leads.
    pub target: Target,
    /// Whether it is open for reading, and for writing.
    pub access: (bool, bool),
}

/// What a descriptor stands for, as far as its link tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `pipe:[…]`, by inode.
    Pipe(u64),
    /// `socket:[…]`, by inode.
    Socket(u64),
    /// The master end of a pseudo-terminal, by number.
    Master(u32),
    /// Something with a path, and what is known of it.
    Path(Vec<u8>, Option<Place>),
}

impl Holdings {
    /// Those of a process; `None` where it is gone.
    pub fn of(pid: Pid) -> Option<Self> {
        let stat = proc::parsed(pid, "stat", stat::parse).ok()?;
        let status = proc::parsed(pid, "status", proc::status::parse).ok()?;
        let name = ProcessName { pid, comm: String::from_utf8_lossy(&stat.comm).into_owned() };
        let numbers = proc::list_fds(pid);
        let maps = proc::parsed(pid, "maps", parse_maps);
        let closed = [numbers.as_ref().err(), maps.as_ref().err()]
            .iter()
            .any(|error| matches!(error, Some(ProcError::Denied { .. })));
        let mut shared = maps.unwrap_or_default();
        shared.retain(|mapping| mapping.shared);
        // Thousands of names are looked up below it.
        let folder = files::open(&proc::folder(pid).join("fd"), libc::O_PATH | libc::O_DIRECTORY);
        let descriptor = |number| Descriptor::of(pid, folder.as_ref().ok()?, number);
        Some(Self {
            name,
            parent: stat.ppid,
            tracer: status.tracer.filter(|tracer| tracer.0 != 0).and_then(process_of),
            terminal: stat.terminal(),
            descriptors: numbers.unwrap_or_default().into_iter().filter_map(descriptor).collect(),
            shared,
            program: [stat.start_code, stat.start_stack],
            umask: status.umask,
            lives: status.memory.is_some(),
            network: proc::ns::read(pid, "net").ok().map(|link| link.inode),
            closed,
        })
    }
}

impl Descriptor {
    fn of(pid: Pid, folder: &OwnedFd, number: FdNumber) -> Option<Self> {
        let name = number.to_string();
        let link = readlinkat(folder, name.as_str()).ok()?.into_vec();
        let inode = |prefix: &[u8]| {
            let digits = link.strip_prefix(prefix)?.strip_suffix(b"]")?;
            std::str::from_utf8(digits).ok()?.parse().ok()
        };
        let target = if let Some(inode) = inode(b"pipe:[") {
            Target::Pipe(inode)
        } else if let Some(inode) = inode(b"socket:[") {
            Target::Socket(inode)
        } else if link == b"/dev/ptmx" || link == b"/dev/pts/ptmx" {
            let info = proc::parsed(pid, &format!("fdinfo/{number}"), fdinfo::parse).ok();
            info.and_then(|info| info.terminal()).map_or_else(|| Target::Path(link.clone(), None), Target::Master)
        } else if link.starts_with(b"/") {
            let place = files::place(&proc::folder(pid).join("fd").join(&name)).ok();
            Target::Path(link, place)
        } else {
            return None;
        };
        // The link's own mode says how the descriptor was opened, proc_pid_fd(5).
        let mode = fstatat(folder, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW).ok()?.st_mode;
        Some(Self { number, target, access: (mode & 0o400 != 0, mode & 0o200 != 0) })
    }
}

/// The process of a thread.
fn process_of(thread: Tid) -> Option<Pid> {
    // Every thread has such a folder, under its own number.
    proc::parsed(Pid(thread.0), "status", proc::status::parse).ok().map(|status| status.tgid)
}
