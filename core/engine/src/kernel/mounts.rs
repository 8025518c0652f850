//! Mounts as descriptors: open_tree(2), fsopen(2), fsmount(2), move_mount(2), mount_setattr(2), pivot_root(2). Linux 5.12.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::{Answer, Errno, checked};

/// MOUNT_ATTR_RDONLY.
pub const READ_ONLY: u64 = 0x1;
/// MOUNT_ATTR_NOSUID.
pub const NO_SUID: u64 = 0x2;
/// MOUNT_ATTR_NODEV.
pub const NO_DEVICES: u64 = 0x4;
/// MOUNT_ATTR_NOEXEC.
pub const NO_EXECUTION: u64 = 0x8;
/// MOUNT_ATTR_NOATIME.
pub const NO_ACCESS_TIME: u64 = 0x10;
/// MOUNT_ATTR_STRICTATIME.
pub const STRICT_ACCESS_TIME: u64 = 0x20;
/// MOUNT_ATTR_NODIRATIME.
pub const NO_DIRECTORY_ACCESS_TIME: u64 = 0x80;
/// MOUNT_ATTR_NOSYMFOLLOW. Linux 5.14.
pub const NO_SYMBOLIC_LINKS: u64 = 0x0020_0000;
/// All of them.
pub const ATTRIBUTES: u64 = READ_ONLY
    | NO_SUID
    | NO_DEVICES
    | NO_EXECUTION
    | NO_ACCESS_TIME
    | STRICT_ACCESS_TIME
    | NO_DIRECTORY_ACCESS_TIME
    | NO_SYMBOLIC_LINKS;

/// MOUNT_ATTR__ATIME: the bits in which one way of keeping access times is chosen.
const ACCESS_TIMES: u64 = 0x70;

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

fn text(path: &Path) -> Answer<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)
}

fn descriptor(answer: libc::c_long) -> Answer<OwnedFd> {
    let number = checked(answer)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has its number.
    Ok(unsafe { OwnedFd::from_raw_fd(number as i32) })
}

/// A mount of its own of what a descriptor stands for, without the mounts below it, attached nowhere: open_tree(2).
pub fn duplicate(of: &impl AsFd) -> Answer<OwnedFd> {
    const OPEN_TREE_CLONE: i32 = 1;
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | libc::AT_EMPTY_PATH;
    // SAFETY: the path is an empty string that ends with a zero; the rest are integers.
    descriptor(unsafe { libc::syscall(libc::SYS_open_tree, of.as_fd().as_raw_fd(), c"".as_ptr(), flags) })
}

/// A new filesystem of this type, attached nowhere. Its options are words, or words with a value.
pub fn new_filesystem(kind: &str, source: &[u8], options: &[(Vec<u8>, Option<Vec<u8>>)]) -> Answer<OwnedFd> {
    Recipe::of(kind, source, options)?.make()
}

/// How a filesystem is made, told in advance: what remains to be done are system calls only.
#[derive(Debug)]
pub struct Recipe {
    kind: CString,
    /// Keys and values.
    settings: Vec<(CString, Option<CString>)>,
}

impl Recipe {
    /// Of a filesystem of this type.
    pub fn of(kind: &str, source: &[u8], options: &[(Vec<u8>, Option<Vec<u8>>)]) -> Answer<Self> {
        let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| Errno::EINVAL);
        let mut settings = Vec::new();
        if !source.is_empty() {
            settings.push((text(b"source")?, Some(text(source)?)));
        }
        for (key, value) in options {
            settings.push((text(key)?, value.as_deref().map(text).transpose()?));
        }
        Ok(Self { kind: text(kind.as_bytes())?, settings })
    }

    /// Makes it, attached nowhere.
    pub fn make(&self) -> Answer<OwnedFd> {
        const FSOPEN_CLOEXEC: i32 = 1;
        const FSMOUNT_CLOEXEC: i32 = 1;
        const SET_FLAG: i32 = 0;
        const SET_STRING: i32 = 1;
        const CREATE: i32 = 6;
        // SAFETY: the name ends with a zero.
        let context = descriptor(unsafe { libc::syscall(libc::SYS_fsopen, self.kind.as_ptr(), FSOPEN_CLOEXEC) })?;
        let none: *const libc::c_char = std::ptr::null();
        for (key, value) in &self.settings {
            let (command, value) = value.as_ref().map_or((SET_FLAG, none), |value| (SET_STRING, value.as_ptr()));
            // SAFETY: key and value end with a zero and live through the call; a flag has no value.
            checked(unsafe {
                libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, key.as_ptr(), value, 0)
            })?;
        }
        // SAFETY: this command takes neither key nor value.
        checked(unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), CREATE, none, none, 0) })?;
        // SAFETY: integers only.
        descriptor(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, 0) })
    }
}

/// Attaches a mount to a place, on top of what is mounted there: move_mount(2).
pub fn attach(mount: &impl AsFd, place: &impl AsFd) -> Answer<()> {
    const BOTH_EMPTY: i32 = 0x4 | 0x40;
    let (mount, place) = (mount.as_fd().as_raw_fd(), place.as_fd().as_raw_fd());
    let empty = c"".as_ptr();
    // SAFETY: both paths are empty strings that end with a zero; the rest are integers.
    checked(unsafe { libc::syscall(libc::SYS_move_mount, mount, empty, place, empty, BOTH_EMPTY) }).map(drop)
}

/// Sets all attributes of a mount.
pub fn set_attributes(mount: &impl AsFd, attributes: u64) -> Answer<()> {
    let chosen = attributes & ATTRIBUTES;
    let request =
        Attributes { set: chosen, clear: ATTRIBUTES & !chosen | ACCESS_TIMES, propagation: 0, user_namespace: 0 };
    change(mount, &request)
}

/// [`NO_EXECUTION`], if a mount has it.
pub fn no_execution(mount: &impl AsFd) -> Answer<u64> {
    let flags = nix::sys::statvfs::fstatvfs(mount)?.flags();
    Ok(if flags.contains(nix::sys::statvfs::FsFlags::ST_NOEXEC) { NO_EXECUTION } else { 0 })
}

/// Sets how mounts spread from and to a mount: MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE, mount_namespaces(7).
pub fn set_propagation(mount: &impl AsFd, propagation: MsFlags) -> Answer<()> {
    let propagation = propagation.bits();
    change(mount, &Attributes { set: 0, clear: 0, propagation, user_namespace: 0 })
}

fn change(mount: &impl AsFd, request: &Attributes) -> Answer<()> {
    let (mount, empty) = (mount.as_fd().as_raw_fd(), c"".as_ptr());
    let size = size_of::<Attributes>();
    // SAFETY: the path is an empty string, and the structure lives through the call.
    checked(unsafe {
        libc::syscall(libc::SYS_mount_setattr, mount, empty, libc::AT_EMPTY_PATH, std::ptr::from_ref(request), size)
    })
    .map(drop)
}

/// What lies at this relative path below a folder, on the same mount, without following any link: openat2(2), O_PATH.
pub fn below(folder: &impl AsFd, path: &Path) -> Answer<OwnedFd> {
    if path.as_os_str().is_empty() || path == Path::new(".") {
        return folder.as_fd().try_clone_to_owned().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)));
    }
    open_below(folder, path, libc::O_PATH)
}

/// Opens it so.
pub fn open_below(folder: &impl AsFd, path: &Path, flags: i32) -> Answer<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_NO_XDEV
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_BENEATH;
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    openat2(folder.as_fd(), path, OpenHow::new().flags(flags).resolve(resolve))
}

/// Nothing that is mounted or unmounted here spreads to where this mount namespace was copied from; the other way it still does.
pub fn keep_to_ourselves() -> Answer<()> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
}

/// Makes an attached or unattached mount the root of this mount namespace, and of every process in it whose root was the old one;
/// the old tree is gone: pivot_root(2), "pivot_root(".", ".")".
pub fn become_root(root: &OwnedFd) -> Answer<()> {
    let top = super::files::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?;
    attach(root, &top)?;
    leave_old_root(root)
}

/// The same, of one that lies over the root already.
pub fn leave_old_root(root: &OwnedFd) -> Answer<()> {
    nix::unistd::fchdir(root)?;
    nix::unistd::pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    nix::unistd::chdir("/")
}

/// The path by which an open folder is reached.
pub fn reached_by(folder: BorrowedFd<'_>) -> std::path::PathBuf {
    super::procfs::descriptor(&folder)
}

/// The extended attributes of a file, not following a link: llistxattr(2), lgetxattr(2). None where the filesystem has no such thing.
pub fn extended_attributes(path: &Path) -> Answer<Vec<(Vec<u8>, Vec<u8>)>> {
    const MOST: usize = 64 << 10;
    let path = text(path)?;
    let mut names = vec![0_u8; MOST];
    // SAFETY: the path ends with a zero, and the kernel writes no more than the buffer holds.
    let length =
        match checked(unsafe { libc::llistxattr(path.as_ptr(), names.as_mut_ptr().cast(), MOST) } as libc::c_long) {
            Err(Errno::EOPNOTSUPP) => return Ok(Vec::new()),
            other => other? as usize,
        };
    let mut found = Vec::new();
    let mut value = vec![0_u8; MOST];
    for name in names.get(..length).unwrap_or_default().split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let key = CString::new(name).map_err(|_| Errno::EINVAL)?;
        // SAFETY: path and key end with a zero, and the kernel writes no more than the buffer holds.
        let length =
            checked(unsafe { libc::lgetxattr(path.as_ptr(), key.as_ptr(), value.as_mut_ptr().cast(), MOST) }
                as libc::c_long)?;
        found.push((name.to_vec(), value.get(..length as usize).unwrap_or_default().to_vec()));
    }
    Ok(found)
}

/// Sets one of them, lsetxattr(2).
pub fn set_extended_attribute(path: &Path, name: &[u8], value: &[u8]) -> Answer<()> {
    let (path, name) = (text(path)?, CString::new(name).map_err(|_| Errno::EINVAL)?);
    // SAFETY: path and name end with a zero, and the kernel reads as many bytes as the slice holds.
    checked(unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) }.into())
        .map(drop)
}
