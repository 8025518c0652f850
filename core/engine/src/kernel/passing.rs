//! Names that are there for a moment only: /proc shows an open file by the name it was opened by, also when that is gone.
//!
//! Between the making of a name and its removal the engine may be killed, and the name would stay. So a child makes both
//! steps, which shares our descriptors and takes no signals, and which nobody ends together with us.

use std::ffi::{CStr, CString};
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, open, openat2};
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, linkat, mkfifo, unlink};

use super::clone::CloneArguments;
use super::{Answer, Errno, checked};

/// What gets the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing<'a> {
    /// A new, empty file, open for reading and writing.
    File,
    /// A new FIFO, opened with these flags.
    Fifo(i32),
    /// The file that has this other name, opened with these flags.
    Link(&'a Path, i32),
}

impl Passing<'_> {
    /// Gives it the name, opens it, and takes the name away. EEXIST: something else has the name, which keeps it.
    pub fn open(self, name: &Path) -> Answer<OwnedFd> {
        let name = c_string(name)?;
        let other = if let Self::Link(other, _) = self { c_string(other)? } else { CString::default() };
        in_child(&|| {
            let made = self.make(&name, &other)?;
            let opened = match (made, self) {
                (Some(file), _) => Ok(file),
                (None, Self::File) => Err(Errno::EINVAL),
                (None, Self::Fifo(flags) | Self::Link(_, flags)) => {
                    let flags = OFlag::from_bits_retain(flags) | OFlag::O_CLOEXEC;
                    openat2(AT_FDCWD, name.as_c_str(), OpenHow::new().flags(flags))
                }
            };
            unlink(name.as_c_str())?;
            opened
        })
    }

    fn make(self, name: &CStr, other: &CStr) -> Answer<Option<OwnedFd>> {
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let new = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        match self {
            Self::File => open(name, new, mode).map(Some),
            Self::Fifo(_) => mkfifo(name, mode).map(|()| None),
            Self::Link(..) => linkat(AT_FDCWD, other, AT_FDCWD, name, AtFlags::empty()).map(|()| None),
        }
    }
}

fn c_string(path: &Path) -> Answer<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)
}

/// Lets a child open something for us. It is a copy of the engine and must neither allocate nor take a lock: `work` makes
/// system calls only.
fn in_child(work: &dyn Fn() -> Answer<OwnedFd>) -> Answer<OwnedFd> {
    let (mut answers, mut says) = std::io::pipe().map_err(|_| Errno::EMFILE)?;
    let arguments = CloneArguments {
        flags: libc::CLONE_FILES as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArguments::default()
    };
    let mask = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK)?;
    // SAFETY: without CLONE_VM the child has its own copy of our memory; the arguments live across the call.
    let made = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) };
    if made == 0 {
        let answer = work().map_or_else(|errno| -(errno as i32), IntoRawFd::into_raw_fd);
        let _ = says.write_all(&answer.to_ne_bytes());
        loop {
            // SAFETY: the raw call ends this one thread, the only one of the child, and runs nothing of ours.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        }
    }
    let made = checked(made);
    mask.thread_set_mask()?;
    // Where SIGCHLD is ignored it waits just as long, and finds nobody.
    let _ = waitpid(Pid::from_raw(made? as i32), Some(WaitPidFlag::__WALL));
    // Not before: the child had no other.
    drop(says);
    let mut answer = [0; 4];
    answers.read_exact(&mut answer).map_err(|_| Errno::ECHILD)?;
    match i32::from_ne_bytes(answer) {
        errno if errno < 0 => Err(Errno::from_raw(-errno)),
        // SAFETY: the child has made this descriptor in the table that it shared with us, and nobody else has its number.
        number => Ok(unsafe { OwnedFd::from_raw_fd(number) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_shown_by_a_name_that_is_gone() -> Result<(), Box<dyn std::error::Error>> {
        use std::os::fd::AsRawFd;
        let folder = tempfile::tempdir()?;
        let (name, other) = (folder.path().join("name"), folder.path().join("other"));
        std::fs::write(&other, "content")?;
        for (passing, links) in
            [(Passing::File, 0), (Passing::Fifo(libc::O_PATH), 0), (Passing::Link(&other, libc::O_RDONLY), 1)]
        {
            let opened = passing.open(&name)?;
            let link = std::fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd()))?;
            assert_eq!(link.to_string_lossy(), format!("{} (deleted)", name.display()), "{passing:?}");
            assert_eq!(super::super::files::stat(&opened)?.st_nlink, links, "{passing:?}");
            assert!(!name.exists());
            std::fs::write(&name, "somebody else's")?;
            assert_eq!(passing.open(&name).map(drop), Err(Errno::EEXIST), "{passing:?}");
            assert_eq!(std::fs::read(&name)?, b"somebody else's");
            std::fs::remove_file(&name)?;
        }
        Ok(())
    }
}
