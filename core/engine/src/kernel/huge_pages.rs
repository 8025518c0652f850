//! Huge pages that the system has set aside (hugetlb): Documentation/admin-guide/mm/hugetlbpage.rst. Nothing else gives them, and
//! who touches one that cannot be had is sent SIGBUS: the engine asks for each before it touches it.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::fcntl::{FallocateFlags, fallocate};

use super::{Answer, Errno, files, outside};

/// Where mmap(2), memfd_create(2) and shmget(2) are told the size of huge pages: its logarithm (MAP_HUGE_SHIFT).
const SIZE_SHIFT: u32 = 26;

/// The flag for mmap(2).
pub fn of_mapping(size: u64) -> i32 {
    libc::MAP_HUGETLB | encoded(size)
}

/// The flag for memfd_create(2).
pub fn of_memory_file(size: u64) -> u32 {
    libc::MFD_HUGETLB | encoded(size) as u32
}

/// The flag for shmget(2).
pub fn of_segment(size: u64) -> i32 {
    libc::SHM_HUGETLB | encoded(size)
}

fn encoded(size: u64) -> i32 {
    (size.trailing_zeros() << SIZE_SHIFT) as i32
}

/// Whether pages can be so large at all.
pub fn is_possible(size: u64) -> bool {
    const LARGEST: u64 = 1 << 31;
    size.is_power_of_two() && size > 4096 && size <= LARGEST
}

/// The size of the huge pages that a file consists of; none: it does not.
pub fn size_of(file: &impl AsFd) -> Option<u64> {
    const HUGETLBFS: i64 = 0x9584_58f6;
    let found = nix::sys::statfs::fstatfs(file).ok()?;
    let is_huge = found.filesystem_type().0 as i64 == HUGETLBFS;
    is_huge.then_some(found.block_size() as u64).filter(|size| is_possible(*size))
}

/// The same of what lies in a folder.
pub fn size_in(folder: &Path) -> Option<u64> {
    size_of(&files::open(folder, libc::O_PATH | libc::O_DIRECTORY).ok()?)
}

/// Writes to a file of huge pages of this size, which write(2) cannot do.
pub fn write(file: &File, size: u64, bytes: &[u8], at: u64) -> Answer<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let first = at / size * size;
    let behind = at.checked_add(bytes.len() as u64).ok_or(Errno::EFBIG)?.next_multiple_of(size);
    let (length, offset) = ((behind - first) as usize, libc::off_t::try_from(first).map_err(|_| Errno::EFBIG)?);
    fallocate(file, FallocateFlags::empty(), offset, length as libc::off_t)?;
    // SAFETY: a new mapping at an address the kernel chooses overlaps nothing of ours.
    let address = unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, file.as_raw_fd(), offset)
    };
    if address == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    let to = address.cast::<u8>().wrapping_add((at - first) as usize);
    // SAFETY: `to` and as many bytes behind it lie within the mapping made above, whose pages have just been allocated.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    // SAFETY: it is the mapping made above, which nothing else knows of.
    unsafe { libc::munmap(address, length) };
    Ok(())
}

/// How many huge pages of this size can still be had: free, spoken for by nobody, or more where the system may add some. None: this
/// kernel or machine has none of that size.
pub fn available(size: u64) -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        let path = format!("/sys/kernel/mm/hugepages/hugepages-{}kB/{name}", size / 1024);
        outside::text(&path).ok()?.trim().parse().ok()
    };
    let free = number("free_hugepages")?.saturating_sub(number("resv_hugepages")?);
    let more = number("nr_overcommit_hugepages")?.saturating_sub(number("surplus_hugepages")?);
    Some(free.saturating_add(more))
}

/// How many of this size the system has set aside.
pub fn set_aside(size: u64) -> u64 {
    let path = format!("/sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages", size / 1024);
    outside::text(&path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_by_their_logarithm() {
        assert_eq!(of_mapping(2 << 20), libc::MAP_HUGETLB | libc::MAP_HUGE_2MB);
        assert_eq!(of_memory_file(1 << 30), libc::MFD_HUGETLB | libc::MFD_HUGE_1GB);
        assert!(is_possible(2 << 20) && !is_possible(4096) && !is_possible(3 << 20) && !is_possible(0));
        assert!(available(3 << 20).is_none());
    }

    #[test]
    fn an_ordinary_file_has_no_huge_pages() -> std::io::Result<()> {
        assert_eq!(size_of(&tempfile::tempfile()?), None);
        Ok(())
    }
}
