//! Descriptors of our own: open(2), lseek(2), fcntl(2), ioctl(2).

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};

use super::{Answer, Errno, checked};

/// Opens a file that exists, with O_CLOEXEC and never as our controlling terminal. openat2(2) adds O_LARGEFILE to the flags of
/// the description, but with O_PATH.
pub fn open(path: &Path, flags: i32) -> Answer<OwnedFd> {
    let mut flags = OFlag::from_bits_retain(flags) | OFlag::O_CLOEXEC;
    if !flags.contains(OFlag::O_PATH) {
        flags |= OFlag::O_NOCTTY;
    }
    openat2(AT_FDCWD, path, OpenHow::new().flags(flags))
}

/// The same, of a path in which nothing is a link.
pub fn open_plainly(path: &Path, flags: i32) -> Answer<OwnedFd> {
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_CLOEXEC;
    openat2(AT_FDCWD, path, OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS))
}

/// Lets an empty file share all blocks of another one on the same filesystem, where that can do so: FICLONE, ioctl_ficlone(2).
pub fn reflink(from: &impl AsFd, to: &impl AsFd) -> Answer<()> {
    // SAFETY: both are descriptors that live through the call.
    checked(unsafe { libc::ioctl(to.as_fd().as_raw_fd(), libc::FICLONE, from.as_fd().as_raw_fd()) }.into()).map(drop)
}

/// Sets the position, lseek(2).
pub fn set_position(file: &impl AsFd, position: i64) -> Answer<()> {
    nix::unistd::lseek64(file, position, nix::unistd::Whence::SeekSet).map(drop)
}

nix::ioctl_read_bad!(/** FIONREAD, ioctl_tty(2). */ fionread, libc::FIONREAD, i32);

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

/// The lease that was taken through a description: F_RDLCK, F_WRLCK or, for none, F_UNLCK.
pub fn lease(file: &impl AsFd) -> Answer<i32> {
    // SAFETY: F_GETLEASE takes nothing.
    checked(unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_GETLEASE) }.into()).map(|kind| kind as i32)
}

/// A duplicate with a number of at least `least`.
pub fn duplicate_above(file: &impl AsFd, least: i32) -> Answer<OwnedFd> {
    use std::os::fd::FromRawFd;
    let number = nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(least))?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has its number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Lets the programs that this process starts have none of its descriptors but the standard ones: close_range(2) with
/// CLOSE_RANGE_CLOEXEC, Linux 5.11.
pub fn keep_from_programs() -> Answer<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 1 << 2;
    // SAFETY: it takes numbers only, and closes nothing in this process.
    checked(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Status flags that fcntl(2) can change, F_SETFL; O_ASYNC is set apart.
pub fn set_status(file: &impl AsFd, flags: i32) -> Answer<()> {
    const CAN_CHANGE: i32 = libc::O_APPEND | libc::O_DIRECT | libc::O_NOATIME | libc::O_NONBLOCK;
    // SAFETY: F_SETFL takes an integer.
    checked(unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_SETFL, flags & CAN_CHANGE) }.into()).map(drop)
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The device of its filesystem.
    pub device: u64,
    /// Its inode number there.
    pub inode: u64,
    /// Its type, `S_IF*`.
    pub file_type: u32,
    /// How many names it has.
    pub names: u32,
    /// The mount by which it was reached: the id in mountinfo, Linux 5.8. 0 where the kernel does not tell.
    pub mount: u64,
}

/// Device and inode number of what a path leads to, as far as they are known without asking a file server, statx(2).
pub fn identity(path: &Path) -> Answer<(u64, u64)> {
    place(path).map(|place| (place.device, place.inode))
}

/// What a path leads to, as far as that is known without asking a file server, statx(2).
pub fn place(path: &Path) -> Answer<Place> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let mut found = std::mem::MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path ends with a zero, and statx writes one structure, which we hold.
    let answer = unsafe {
        libc::statx(
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_STATX_DONT_SYNC,
            libc::STATX_INO | libc::STATX_TYPE | libc::STATX_NLINK | libc::STATX_MNT_ID,
            found.as_mut_ptr(),
        )
    };
    checked(answer.into())?;
    // SAFETY: all zeros are a valid structure, and the kernel has filled it in.
    let found = unsafe { found.assume_init() };
    Ok(Place {
        device: libc::makedev(found.stx_dev_major, found.stx_dev_minor),
        inode: found.stx_ino,
        file_type: u32::from(found.stx_mode) & libc::S_IFMT,
        names: found.stx_nlink,
        mount: if found.stx_mask & libc::STATX_MNT_ID == 0 { 0 } else { found.stx_mnt_id },
    })
}

/// What the kernel calls the protocol of a socket, such as `TCP` or `AF_VSOCK`: the attribute `system.sockprotoname` of a
/// descriptor, getxattr(2).
pub fn socket_protocol(descriptor: &Path) -> Answer<String> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(descriptor.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let mut name = [0_u8; 64];
    // SAFETY: both strings end with a zero, and the kernel writes no more than the array holds.
    let length = checked(unsafe {
        libc::getxattr(path.as_ptr(), c"system.sockprotoname".as_ptr(), name.as_mut_ptr().cast(), name.len())
    } as libc::c_long)?;
    let name = name.get(..length as usize).unwrap_or_default();
    Ok(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned())
}

/// Whether an open file has an extended attribute of this name, fgetxattr(2).
pub fn has_attribute(file: &impl AsFd, name: &CStr) -> bool {
    let file = file.as_fd().as_raw_fd();
    // SAFETY: the name ends with a zero, and without a buffer the kernel only answers how long the value is.
    checked(unsafe { libc::fgetxattr(file, name.as_ptr(), std::ptr::null_mut(), 0) } as libc::c_long).is_ok()
}

/// Gives it one, without a value, fsetxattr(2): for whoever may write to the file, however it is open.
pub fn add_attribute(file: &impl AsFd, name: &CStr) -> Answer<()> {
    let file = file.as_fd().as_raw_fd();
    // SAFETY: the name ends with a zero, and of no bytes none is read.
    checked(unsafe { libc::fsetxattr(file, name.as_ptr(), std::ptr::null(), 0, 0) }.into()).map(drop)
}

/// Whether the acting identity may open a path with these rights (R_OK, W_OK), faccessat2(2) with AT_EACCESS. Linux 5.8.
pub fn may_access(path: &Path, rights: i32) -> Answer<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the path ends with a zero and lives through the call.
    checked(unsafe { libc::syscall(libc::SYS_faccessat2, libc::AT_FDCWD, path.as_ptr(), rights, libc::AT_EACCESS) })
        .map(drop)
}

/// The kind of filesystem that a file lies in: `*_MAGIC` of statfs(2).
pub fn filesystem(file: &impl AsFd) -> Answer<i64> {
    Ok(nix::sys::statfs::fstatfs(file)?.filesystem_type().0 as i64)
}

/// fstat(2).
pub fn stat(file: &impl AsFd) -> Answer<libc::stat> {
    nix::sys::stat::fstat(file)
}

/// Sets the flags that can change after open(2), F_SETFL.
pub fn set_status_flags(file: &impl AsFd, flags: i32) -> Answer<()> {
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_SETFL(OFlag::from_bits_retain(flags))).map(drop)
}
