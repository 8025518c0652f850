//! Descriptors of our own: open(2), lseek(2), fcntl(2), ioctl(2).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, openat2};

use super::{Answer, Errno, checked};

/// Opens a file that exists, with O_CLOEXEC and never as our controlling terminal. openat2(2): the flags of the
/// description are the given ones, where open(2) would add O_LARGEFILE.
pub fn open(path: &Path, flags: i32) -> Answer<OwnedFd> {
    let mut flags = OFlag::from_bits_retain(flags) | OFlag::O_CLOEXEC;
    if !flags.contains(OFlag::O_PATH) {
        flags |= OFlag::O_NOCTTY;
    }
    openat2(AT_FDCWD, path, OpenHow::new().flags(flags))
}

/// Sets the position, lseek(2).
pub fn set_position(file: &impl AsFd, position: i64) -> Answer<()> {
    nix::unistd::lseek64(file, position, nix::unistd::Whence::SeekSet).map(drop)
}

nix::ioctl_read_bad!(fionread, libc::FIONREAD, i32);

/// How many bytes wait to be read, FIONREAD.
pub fn bytes_waiting(file: &impl AsFd) -> Answer<usize> {
    let mut count = 0;
    // SAFETY: FIONREAD writes one int, which we hold.
    unsafe { fionread(file.as_fd().as_raw_fd(), &raw mut count) }?;
    usize::try_from(count).map_err(|_| Errno::EINVAL)
}

#[repr(C)]
#[derive(Default)]
struct Owner {
    kind: i32,
    id: i32,
}

const F_SETSIG: i32 = 10;
const F_GETSIG: i32 = 11;
const F_SETOWN_EX: i32 = 15;
const F_GETOWN_EX: i32 = 16;

/// Whom the file tells of I/O: F_OWNER_* type, id, signal; none where nobody was named.
pub fn notify(file: &impl AsFd) -> Answer<Option<(i32, i32, i32)>> {
    let fd = file.as_fd().as_raw_fd();
    let mut owner = Owner::default();
    // SAFETY: F_GETOWN_EX writes one structure, which we hold.
    match checked(unsafe { libc::fcntl(fd, F_GETOWN_EX, &raw mut owner) }.into()) {
        // O_PATH: such a file tells nobody.
        Err(Errno::EBADF) => return Ok(None),
        other => other?,
    };
    // SAFETY: F_GETSIG takes nothing.
    let signal = checked(unsafe { libc::fcntl(fd, F_GETSIG) }.into())? as i32;
    Ok((owner.id != 0 || signal != 0).then_some((owner.kind, owner.id, signal)))
}

/// Names whom the file tells of I/O.
pub fn set_notify(file: &impl AsFd, kind: i32, id: i32, signal: i32) -> Answer<()> {
    let fd = file.as_fd().as_raw_fd();
    let owner = Owner { kind, id };
    if id != 0 {
        // SAFETY: F_SETOWN_EX reads one structure, which we hold.
        checked(unsafe { libc::fcntl(fd, F_SETOWN_EX, &raw const owner) }.into())?;
    }
    // SAFETY: F_SETSIG takes an integer.
    checked(unsafe { libc::fcntl(fd, F_SETSIG, signal) }.into()).map(drop)
}

/// A duplicate with a number of at least `least`.
pub fn duplicate_above(file: &impl AsFd, least: i32) -> Answer<OwnedFd> {
    use std::os::fd::FromRawFd;
    let number = nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(least))?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has its number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// fstat(2).
pub fn stat(file: &impl AsFd) -> Answer<libc::stat> {
    nix::sys::stat::fstat(file)
}

/// Sets the flags that can change after open(2), F_SETFL.
pub fn set_status_flags(file: &impl AsFd, flags: i32) -> Answer<()> {
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_SETFL(OFlag::from_bits_retain(flags))).map(drop)
}
