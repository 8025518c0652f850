//! Large buffers for page data, mmap(2): aligned for O_DIRECT, and where much is to be read on huge pages, if the system has
//! those for whoever asks (Documentation/admin-guide/mm/transhuge.rst): the kernel takes one to and from the disk in one
//! piece. A huge page must be zeroed as a whole, which little data does not bring back.

use std::alloc::{Layout, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

/// What a huge page of x86-64 and aarch64 (with pages of 4 KiB) holds, bytes.
pub const HUGE: usize = 2 << 20;

/// What O_DIRECT asks for, bytes.
const PAGE: usize = 4096;

/// Zeroed bytes that begin at a page: a huge one if that was wanted.
#[derive(Debug)]
pub struct Buffer {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to this value alone, as a Vec's memory does.
unsafe impl Send for Buffer {}

impl Buffer {
    /// So many bytes, rounded up to what huge pages hold; on huge pages if that is wanted and the system has some. Ends the
    /// program where there is no memory, as a Vec does.
    pub fn new(length: usize, huge: bool) -> Self {
        let length = length.max(1).next_multiple_of(HUGE);
        // Small pages are not aligned like huge ones: the kernel was seen to copy into buffers of several threads that all
        // are at half the speed (AMD EPYC).
        let surplus = if huge { HUGE } else { PAGE };
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address that the kernel chooses overlaps nothing.
        let mapped = unsafe { libc::mmap(ptr::null_mut(), length + surplus, protection, flags, -1, 0) };
        let start = NonNull::new(mapped.cast::<u8>()).filter(|_| mapped != libc::MAP_FAILED);
        let Some(start) = start else { handle_alloc_error(Layout::new::<[u8; HUGE]>()) };
        let before = start.as_ptr().addr().wrapping_neg() % surplus;
        // SAFETY: `before` is less than the surplus, by which the mapping is longer than `length`: all three parts lie in it,
        // and only the middle one is used any more. The advice changes no content, and may be refused.
        unsafe {
            let middle = start.add(before);
            if before > 0 {
                libc::munmap(start.as_ptr().cast(), before);
            }
            libc::munmap(middle.add(length).as_ptr().cast(), surplus - before);
            if huge {
                libc::madvise(middle.as_ptr().cast(), length, libc::MADV_HUGEPAGE);
            }
            Self { start: middle, length }
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is `length` bytes long, readable, zeroed by the kernel, and lives as long as this value.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and writable; whoever holds this value exclusively holds its bytes so.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no slice of it outlives this value.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffer, HUGE, PAGE};

    #[test]
    fn a_buffer_is_aligned_zeroed_and_its_own() {
        let mut buffers = [(1, false), (HUGE, true), (HUGE + 1, true)].map(|(length, huge)| Buffer::new(length, huge));
        assert_eq!(buffers.each_ref().map(|buffer| buffer.len()), [HUGE, HUGE, 2 * HUGE]);
        for (number, buffer) in buffers.iter_mut().enumerate() {
            assert_eq!(buffer.as_ptr().addr() % if number == 0 { PAGE } else { HUGE }, 0);
            assert!(buffer.iter().all(|byte| *byte == 0), "buffer {number}");
            buffer.fill(number as u8 + 1);
        }
    }
}
