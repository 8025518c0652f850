//! Namespaces and the processes that live in them: fork(2), setns(2), unshare(2), ioctl_ns(2), mount_namespaces(7).

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::ForkResult;

use super::{Answer, Errno, checked, files};

/// Which side of [`fork`] this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The parent, and the child's pid.
    Parent(nix::unistd::Pid),
    /// The child.
    Child,
}

/// Makes a child that goes on from here. EBUSY: the process has other threads, whose locks nobody in the child would ever
/// open.
pub fn fork() -> Answer<Side> {
    // A thread that has been joined is in the list for some microseconds more.
    const PATIENCE: Duration = Duration::from_millis(200);
    let begin = Instant::now();
    while std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count) != 1 {
        if begin.elapsed() > PATIENCE {
            return Err(Errno::EBUSY);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    // SAFETY: this is the only thread, so that the child may do all that the parent may.
    Ok(match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Side::Parent(child),
        ForkResult::Child => Side::Child,
    })
}

/// Children that are made from now on live in a pid namespace of their own, the first of them as its init, pid_namespaces(7).
pub fn new_pids_for_children() -> Answer<()> {
    unshare(CloneFlags::CLONE_NEWPID)
}

/// Children that are made from now on live in this pid namespace.
pub fn enter_pids_for_children(namespace: &impl AsFd) -> Answer<()> {
    setns(namespace, CloneFlags::CLONE_NEWPID)
}

/// This process lives in these namespaces from now on; in that of pids, only its children do. Of mounts: its working and root directory
/// are the root of them.
pub fn enter(namespaces: &[OwnedFd]) -> Answer<()> {
    namespaces.iter().try_for_each(|namespace| setns(namespace, CloneFlags::empty()))
}

/// Does something in a namespace of this kind, and comes back: this thread alone. Not for users, nor for mounts.
pub fn visit<T>(namespace: &impl AsFd, kind: &str, work: impl FnOnce() -> T) -> Answer<T> {
    let own = files::open(&super::procfs::path("thread-self/ns").join(kind), libc::O_RDONLY)?;
    setns(namespace, CloneFlags::empty())?;
    let done = work();
    setns(own, CloneFlags::empty())?;
    Ok(done)
}

/// This process has namespaces of its own from now on of these kinds, by the names of the links in /proc/PID/ns, and so have its
/// children one of pids. Those of mounts are copies.
pub fn part_with(kinds: &[&str]) -> Answer<()> {
    let flag = |kind: &&str| match *kind {
        "cgroup" => Ok(CloneFlags::CLONE_NEWCGROUP),
        "ipc" => Ok(CloneFlags::CLONE_NEWIPC),
        "mnt" => Ok(CloneFlags::CLONE_NEWNS),
        "net" => Ok(CloneFlags::CLONE_NEWNET),
        "pid" => Ok(CloneFlags::CLONE_NEWPID),
        "uts" => Ok(CloneFlags::CLONE_NEWUTS),
        _ => Err(Errno::EINVAL),
    };
    let flags = kinds.iter().map(flag).collect::<Answer<Vec<_>>>()?;
    unshare(flags.into_iter().fold(CloneFlags::empty(), |all, one| all | one))
}

/// The names of the system in the uts namespace of this process: sethostname(2), setdomainname(2).
pub fn set_names(host: &[u8], domain: &[u8]) -> Answer<()> {
    // SAFETY: the kernel reads as many bytes as the slice holds.
    checked(unsafe { libc::sethostname(host.as_ptr().cast(), host.len()) }.into())?;
    // SAFETY: the same.
    checked(unsafe { libc::setdomainname(domain.as_ptr().cast(), domain.len()) }.into()).map(drop)
}

/// The descriptors of this process are its own from now on, unshare(2), CLONE_FILES.
pub fn part_with_files() -> Answer<()> {
    unshare(CloneFlags::CLONE_FILES)
}

/// This process sees the mounts of this namespace from now on; its working and root directory are the root of it.
pub fn enter_mounts(namespace: &impl AsFd) -> Answer<()> {
    setns(namespace, CloneFlags::CLONE_NEWNS)
}

/// This process has mounts of its own from now on, to which those of the system come as before, with a /proc that shows the pid
/// namespace it lives in.
pub fn own_mounts_with_proc() -> Answer<()> {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, none)
}

/// The next process or thread that is made in this pid namespace has this pid, if it is free: ns_last_pid,
/// Documentation/admin-guide/sysctl/kernel.rst.
pub fn next_pid(pid: i32) -> std::io::Result<()> {
    let text = (pid - 1).to_string();
    match NEXT_PID.get() {
        Some(file) => file.write_all_at(text.as_bytes(), 0),
        None => open_next_pid()?.write_all(text.as_bytes()),
    }
}

/// Whose turn it is to name numbers: of several that do so at the same time, one would put the count back to a number of another's. None: it
/// has taken too long, and goes without.
pub fn turn_to_name() -> Option<Flock<File>> {
    const TRIES: usize = 100;
    let mut file = next_pid_file().ok()?;
    for _ in 0..TRIES {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(turn) => return Some(turn),
            Err((back, Errno::EWOULDBLOCK)) => file = back,
            Err(_) => return None,
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    None
}

/// The last pid that was given in this pid namespace.
pub fn last_pid() -> std::io::Result<i32> {
    let mut text = [0; 16];
    let length = match NEXT_PID.get() {
        Some(file) => file.read_at(&mut text, 0)?,
        None => open_next_pid()?.read_at(&mut text, 0)?,
    };
    let number = std::str::from_utf8(&text[..length]).ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

static NEXT_PID: OnceLock<File> = OnceLock::new();

fn open_next_pid() -> std::io::Result<File> {
    File::options().read(true).write(true).open("/proc/sys/kernel/ns_last_pid")
}

/// What [`next_pid`] writes to: the number is named in the pid namespace of whoever writes.
pub fn next_pid_file() -> std::io::Result<File> {
    NEXT_PID.get().map_or_else(open_next_pid, File::try_clone)
}

/// [`next_pid`] works in this process and its children from now on, whatever is mounted over /proc.
pub fn keep_next_pid() -> std::io::Result<()> {
    let _ = NEXT_PID.set(open_next_pid()?);
    Ok(())
}

/// How far the pid namespace behind this link lies below the one of this inode; none: it is no descendant of it. NS_GET_PARENT, ioctl_ns(2).
pub fn pids_below(link: &Path, outer: u64) -> Option<usize> {
    // So deep can one lie in another.
    const DEEPEST: usize = 32;
    let mut next = files::open(link, libc::O_RDONLY).ok()?;
    for below in 0..=DEEPEST {
        if files::stat(&next).ok()?.st_ino == outer {
            return Some(below);
        }
        next = super::user_namespaces::parent(&next).ok()?;
    }
    None
}

/// The user namespace whose capabilities count in this namespace, by device and inode; NS_GET_USERNS, ioctl_ns(2).
pub fn owner(namespace: &Path) -> Answer<(u64, u64)> {
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    let file = files::open(namespace, libc::O_RDONLY)?;
    // SAFETY: the request takes nothing and answers a new descriptor.
    let owner = checked(unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_USERNS) }.into())?;
    // SAFETY: the descriptor has just been made, and nobody else knows it.
    let owner = unsafe { OwnedFd::from_raw_fd(owner as i32) };
    let found = files::stat(&owner)?;
    Ok((found.st_dev, found.st_ino))
}

/// Closes every descriptor but these, close_range(2).
pub fn close_all_but(kept: [BorrowedFd<'_>; 2]) -> Answer<()> {
    let mut kept = kept.map(|file| file.as_raw_fd() as u32);
    kept.sort_unstable();
    let [one, other] = kept;
    let ranges = [(0, one.checked_sub(1)), (one + 1, other.checked_sub(1)), (other + 1, Some(u32::MAX))];
    for (first, last) in ranges {
        let Some(last) = last.filter(|last| *last >= first) else { continue };
        // SAFETY: integers only. It is for an init that has just been forked, and uses nothing that the others belonged to.
        checked(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
    }
    Ok(())
}
