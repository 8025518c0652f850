//! Another process's memory: process_vm_readv(2), process_vm_writev(2), proc_pid_mem(5).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

use dormouse_wire::Pid;

use super::{Answer, Errno};
use crate::model::RemotePtr;

/// Most ranges one call can take (UIO_MAXIOV).
pub const MAX_RANGES: usize = 1024;

/// A range of another process's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteRange {
    /// Where it begins.
    pub start: RemotePtr,
    /// How many bytes.
    pub length: usize,
}

fn vectors(remote: &[RemoteRange]) -> Vec<libc::iovec> {
    remote
        .iter()
        .map(|range| libc::iovec { iov_base: range.start.0 as *mut libc::c_void, iov_len: range.length })
        .collect()
}

/// Reads the ranges one after another into `buffer`, as far as it reaches; returns how many bytes came. It stops early
/// at the first page that cannot be read.
pub fn read_ranges(pid: Pid, remote: &[RemoteRange], buffer: &mut [u8]) -> Answer<usize> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = vectors(remote);
    // SAFETY: `local` describes exactly `buffer`, which we hold exclusively; `remote` names another process's memory.
    let read = unsafe {
        libc::process_vm_readv(pid.0, &raw const local, 1, remote.as_ptr(), remote.len() as libc::c_ulong, 0)
    };
    if read < 0 { Err(Errno::last()) } else { Ok(read as usize) }
}

/// Writes `bytes` into the ranges one after another; returns how many bytes went.
pub fn write_ranges(pid: Pid, remote: &[RemoteRange], bytes: &[u8]) -> Answer<usize> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = vectors(remote);
    // SAFETY: the kernel only reads from `local`, which describes exactly `bytes`.
    let written = unsafe {
        libc::process_vm_writev(pid.0, &raw const local, 1, remote.as_ptr(), remote.len() as libc::c_ulong, 0)
    };
    if written < 0 { Err(Errno::last()) } else { Ok(written as usize) }
}

/// Fills all of `buffer` from one address.
pub fn read(pid: Pid, from: RemotePtr, buffer: &mut [u8]) -> Answer<()> {
    let length = buffer.len();
    if length == 0 {
        return Ok(());
    }
    let read = read_ranges(pid, &[RemoteRange { start: from, length }], buffer)?;
    if read == length { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Writes all of `bytes` to one address.
pub fn write(pid: Pid, to: RemotePtr, bytes: &[u8]) -> Answer<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let written = write_ranges(pid, &[RemoteRange { start: to, length: bytes.len() }], bytes)?;
    if written == bytes.len() { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Reads eight bytes.
pub fn read_u64(pid: Pid, from: RemotePtr) -> Answer<u64> {
    let mut word = [0; 8];
    read(pid, from, &mut word)?;
    Ok(u64::from_le_bytes(word))
}

/// A process's memory as a file: the slower way, which also reaches pages that the process itself may not read or
/// write (PROT_NONE, write-only, executable).
#[derive(Debug)]
pub struct ForcedMemory(File);

impl ForcedMemory {
    /// Opens proc_pid_mem(5). Wants ptrace access.
    pub fn open(pid: Pid) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).open(super::procfs::path(format!("{pid}/mem"))).map(Self)
    }

    /// Fills all of `buffer`.
    pub fn read(&self, from: RemotePtr, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, from.0)
    }

    /// Writes all of `bytes`.
    pub fn write(&self, to: RemotePtr, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, to.0)
    }
}

/// Shared anonymous memory as a file.
#[derive(Debug)]
pub struct SharedMemory;

impl SharedMemory {
    /// Makes shared anonymous memory of this size, as mmap(2) does with MAP_SHARED and MAP_ANONYMOUS, of huge pages of that
    /// size where it is not 0, and answers a descriptor of the file behind it. Wants CAP_CHECKPOINT_RESTORE: only /proc/self/map_files leads to it.
    pub fn file(size: u64, huge_page: u64) -> io::Result<std::os::fd::OwnedFd> {
        let page = huge_page.max(4096) as usize;
        let length = (size as usize).next_multiple_of(page).max(page);
        let mut flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        if huge_page != 0 {
            flags |= super::huge_pages::of_mapping(huge_page);
        }
        // SAFETY: a new mapping at an address the kernel chooses overlaps nothing of ours.
        let address =
            unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = address as usize;
        let path = super::procfs::path(format!("self/map_files/{start:x}-{:x}", start + length));
        let file = OpenOptions::new().read(true).write(true).open(path);
        // SAFETY: the range is the mapping made above, which nothing else knows of.
        unsafe { libc::munmap(address, length) };
        file.map(Into::into)
    }
}
