//! Text to value: what the files below `/proc/PID` say, as typed values. See proc(5) and
//! Documentation/filesystems/proc.rst.
//!
//! Every submodule is one file of `/proc` and holds pure functions from bytes to values, which return [`Unreadable`]
//! where a line is not what the kernel writes. This module is the thin layer that opens the files and says in
//! [`ProcError`] why that did not work; [`parsed`] and [`parsed_thread`] join the two:
//!
//! ```
//! use dormouse_engine::proc::{self, stat};
//! # let pid = dormouse_wire::Pid(std::process::id() as i32);
//! let stat = proc::parsed(pid, "stat", stat::parse)?;
//! assert_eq!(stat.pid, pid.leader());
//! # Ok::<(), proc::ProcError>(())
//! ```
//!
//! The procfs crate is not used here: it reads lines as UTF-8 and so fails on (or changes) command names, paths and
//! mount points that are other bytes, which any user can make.

pub mod auxv;
pub mod bpf;
pub mod cgroup;
pub mod cmdline;
pub mod fdinfo;
pub mod limits;
pub mod locks;
pub mod maps;
pub mod mountinfo;
pub mod multicast;
pub mod netlink;
pub mod ns;
pub mod numbers;
pub mod packet;
pub mod sched;
pub mod sockets;
pub mod stat;
pub mod statm;
pub mod status;
pub mod syscall;
pub mod system_v;
pub mod tcp;
pub mod text;
pub mod timens;
pub mod timers;

use std::cell::RefCell;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dormouse_wire::{FdNumber, Phrase, Pid, Tid, phrase};

use crate::kernel::procfs;
use maps::DetailedMapping;
pub use text::Unreadable;

/// Why a file below `/proc` could not be read.
#[derive(Debug)]
pub enum ProcError {
    /// The process or thread does not exist any more.
    Gone,
    /// The process is there, the file is not: the descriptor has been closed, or this kernel has no such file.
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The caller may not read it: ptrace(2), "Ptrace access mode checking".
    Denied {
        /// The file.
        path: PathBuf,
    },
    /// A line that the kernel is not known to write.
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, with bytes that are not UTF-8 replaced.
        line: String,
    },
    /// Anything else.
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl ProcError {
    /// What it is.
    pub fn said(&self) -> Phrase {
        match self {
            Self::Gone => phrase!("the process is gone"),
            Self::Missing { path } => phrase!("{path} does not exist", path = path.display()),
            Self::Denied { path } => phrase!("{path} may not be read", path = path.display()),
            Self::Malformed { path, line } => {
                phrase!(
                    "{path} has a line that cannot be read: {line}",
                    path = path.display(),
                    line = line.escape_debug()
                )
            }
            Self::Io { path, .. } => phrase!("{path} cannot be read", path = path.display()),
        }
    }
}

impl fmt::Display for ProcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said())
    }
}

impl std::error::Error for ProcError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::Io { source, .. } = self { Some(source) } else { None }
    }
}

thread_local! {
    /// Another `/proc` than our own, for as long as this thread looks through it.
    static ROOT: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

/// The `/proc` of the pid namespace outside, where this process lives in one of a group's own.
static OUTER: OnceLock<OwnedFd> = OnceLock::new();

fn root<T>(work: impl FnOnce(&Path) -> T) -> T {
    ROOT.with_borrow(|root| work(root.as_deref().unwrap_or(procfs::root())))
}

/// From now on this is the `/proc` of the pid namespace outside.
pub fn see_outer(folder: OwnedFd) {
    // There is one at most: a process goes into a namespace once.
    let _ = OUTER.set(folder);
}

/// Does something while all functions here, in this thread, look at the processes outside our pid namespace as well, each under the
/// number it has there; the work is told whether there is such an outside.
pub fn from_outside<T>(work: impl FnOnce(bool) -> T) -> T {
    let outer = OUTER.get().map(procfs::descriptor);
    let is_other = outer.is_some();
    let before = ROOT.replace(outer);
    let answer = work(is_other);
    ROOT.set(before);
    answer
}

/// The folder of a process, `/proc/PID`.
pub fn folder(pid: Pid) -> PathBuf {
    root(|root| root.join(pid.to_string()))
}

/// The folder of a thread, `/proc/PID/task/TID`.
pub fn thread_folder(pid: Pid, tid: Tid) -> PathBuf {
    root(|root| root.join(format!("{pid}/task/{tid}")))
}

/// The bytes of `/proc/PID/NAME`.
pub fn read(pid: Pid, name: &str) -> Result<Vec<u8>, ProcError> {
    read_in(&folder(pid), name)
}

/// The bytes of `/proc/PID/task/TID/NAME`.
pub fn read_thread(pid: Pid, tid: Tid, name: &str) -> Result<Vec<u8>, ProcError> {
    read_in(&thread_folder(pid, tid), name)
}

/// The bytes of `/proc/NAME`, a file of the system.
pub fn read_system(name: &str) -> Result<Vec<u8>, ProcError> {
    read_in(procfs::root(), name)
}

/// The value of `/proc/PID/NAME`.
pub fn parsed<T>(pid: Pid, name: &str, parse: impl FnOnce(&[u8]) -> Result<T, Unreadable>) -> Result<T, ProcError> {
    parse(&read(pid, name)?).map_err(|error| malformed(folder(pid).join(name), error))
}

/// The value of `/proc/PID/task/TID/NAME`.
pub fn parsed_thread<T>(
    pid: Pid,
    tid: Tid,
    name: &str,
    parse: impl FnOnce(&[u8]) -> Result<T, Unreadable>,
) -> Result<T, ProcError> {
    parse(&read_thread(pid, tid, name)?).map_err(|error| malformed(thread_folder(pid, tid).join(name), error))
}

/// The value of `/proc/NAME`, a file of the system.
pub fn parsed_system<T>(name: &str, parse: impl FnOnce(&[u8]) -> Result<T, Unreadable>) -> Result<T, ProcError> {
    parse(&read_system(name)?).map_err(|error| malformed(procfs::path(name), error))
}

/// Where the symbolic link `/proc/PID/NAME` points to, such as `exe`, `cwd`, `fd/3` or `ns/net`.
///
/// The bytes are as the kernel has them: nothing is escaped, and a file that has no name any more ends in
/// ` (deleted)`, see [`strip_deleted`].
pub fn link(pid: Pid, name: &str) -> Result<Vec<u8>, ProcError> {
    link_in(&folder(pid), name)
}

/// Where the symbolic link `/proc/PID/task/TID/NAME` points to.
pub fn link_thread(pid: Pid, tid: Tid, name: &str) -> Result<Vec<u8>, ProcError> {
    link_in(&thread_folder(pid, tid), name)
}

/// A path without the suffix ` (deleted)`, and whether it was there.
///
/// A file may be called `x (deleted)` by its owner. Only the file itself tells: compare device and inode number of what
/// the path names with those of the open file.
pub fn strip_deleted(path: &[u8]) -> (&[u8], bool) {
    match path.strip_suffix(b" (deleted)") {
        Some(name) => (name, true),
        None => (path, false),
    }
}

/// The threads of a process in rising order, proc_pid_task(5).
pub fn list_threads(pid: Pid) -> Result<Vec<Tid>, ProcError> {
    Ok(list_numbers(&folder(pid), "task")?.into_iter().map(Tid).collect())
}

/// The open descriptors of a process in rising order, proc_pid_fd(5).
pub fn list_fds(pid: Pid) -> Result<Vec<FdNumber>, ProcError> {
    Ok(list_numbers(&folder(pid), "fd")?.into_iter().map(FdNumber).collect())
}

/// The open descriptors of a thread in rising order: they differ where threads do not share a file table.
pub fn list_thread_fds(pid: Pid, tid: Tid) -> Result<Vec<FdNumber>, ProcError> {
    Ok(list_numbers(&thread_folder(pid, tid), "fd")?.into_iter().map(FdNumber).collect())
}

/// The processes of this pid namespace in rising order.
pub fn list_pids() -> Result<Vec<Pid>, ProcError> {
    Ok(list_numbers(&root(Path::to_owned), "")?.into_iter().map(Pid).collect())
}

/// The children of one thread, proc_tid_children(5): reliable only while they are all stopped.
pub fn children(pid: Pid, tid: Tid) -> Result<Vec<Pid>, ProcError> {
    parsed_thread(pid, tid, "children", |bytes| {
        text::words(bytes).map(|word| text::decimal(word).map(Pid).ok_or_else(|| Unreadable::line(bytes))).collect()
    })
}

/// The value of `/proc/PID/task/TID/smaps`, read line by line: a process may have tens of thousands of mappings, and the
/// kernel writes some 700 bytes about each.
pub fn detailed_mappings(pid: Pid, tid: Tid) -> Result<Vec<DetailedMapping>, ProcError> {
    let (folder, mut mappings, mut line) = (thread_folder(pid, tid), Vec::new(), Vec::new());
    let path = folder.join("smaps");
    let failed = |error| failed(&folder, path.clone(), error);
    let mut lines = BufReader::with_capacity(64 * 1024, fs::File::open(&path).map_err(failed)?);
    while lines.read_until(b'\n', &mut line).map_err(failed)? > 0 {
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        maps::parse_smaps_line(text, &mut mappings).map_err(|error| malformed(path.clone(), error))?;
        line.clear();
    }
    Ok(mappings)
}

fn read_in(folder: &Path, name: &str) -> Result<Vec<u8>, ProcError> {
    let path = folder.join(name);
    whole(&path).map_err(|error| failed(folder, path, error))
}

thread_local! {
    /// Room for most of the files here: kept, for its pages are what is dear about it.
    static ROOM: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
}

/// All of a file. [`fs::read`] asks for the size, which is 0 here, and then feels its way in small reads; the kernel writes
/// most of these files anew in one go, so that one large read and one for the end halve what a survey costs.
fn whole(path: &Path) -> io::Result<Vec<u8>> {
    ROOM.with_borrow_mut(|room| {
        let mut file = fs::File::open(path)?;
        let mut bytes = Vec::new();
        loop {
            match file.read(room) {
                Ok(0) => return Ok(bytes),
                Ok(length) => bytes.extend_from_slice(&room[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    })
}

fn link_in(folder: &Path, name: &str) -> Result<Vec<u8>, ProcError> {
    let path = folder.join(name);
    match fs::read_link(&path) {
        Ok(target) => Ok(target.into_os_string().into_vec()),
        Err(error) => Err(failed(folder, path, error)),
    }
}

/// The names in a folder that are numbers; others are left out.
fn list_numbers(folder: &Path, name: &str) -> Result<Vec<i32>, ProcError> {
    let path = folder.join(name);
    let failed = |error| failed(folder, path.clone(), error);
    let mut numbers = Vec::new();
    for entry in fs::read_dir(&path).map_err(failed)? {
        numbers.extend(text::decimal::<i32>(entry.map_err(failed)?.file_name().as_encoded_bytes()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// What a failed call means. ESRCH always speaks of the process; ENOENT only where its folder is gone too.
fn failed(folder: &Path, path: PathBuf, source: io::Error) -> ProcError {
    match source.raw_os_error() {
        Some(libc::ESRCH) => ProcError::Gone,
        Some(libc::ENOENT) if fs::symlink_metadata(folder).is_err() => ProcError::Gone,
        Some(libc::ENOENT) => ProcError::Missing { path },
        Some(libc::EACCES | libc::EPERM) => ProcError::Denied { path },
        _ => ProcError::Io { path, source },
    }
}

fn malformed(path: PathBuf, error: Unreadable) -> ProcError {
    ProcError::Malformed { path, line: error.line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Pid {
        Pid(std::process::id() as i32)
    }

    #[test]
    fn a_process_that_does_not_exist_is_gone() {
        assert!(matches!(read(Pid(i32::MAX), "stat"), Err(ProcError::Gone)));
        assert!(matches!(list_fds(Pid(i32::MAX)), Err(ProcError::Gone)));
        assert!(matches!(link(Pid(i32::MAX), "exe"), Err(ProcError::Gone)));
    }

    #[test]
    fn a_file_that_does_not_exist_is_missing_where_the_process_lives() {
        assert!(matches!(read(me(), "fdinfo/99999"), Err(ProcError::Missing { .. })));
    }

    #[test]
    fn a_process_finds_itself() -> Result<(), ProcError> {
        assert!(list_pids()?.contains(&me()));
        assert!(list_threads(me())?.contains(&me().leader()));
        assert!(list_fds(me())?.contains(&FdNumber(2)));
        assert!(link(me(), "exe")?.starts_with(b"/"));
        children(me(), me().leader())?;
        Ok(())
    }

    #[test]
    fn only_the_suffix_of_a_deleted_file_is_taken_off() {
        assert_eq!(strip_deleted(b"/tmp/x (deleted)"), (&b"/tmp/x"[..], true));
        assert_eq!(strip_deleted(b"/tmp/x (deleted) y"), (&b"/tmp/x (deleted) y"[..], false));
    }
}
