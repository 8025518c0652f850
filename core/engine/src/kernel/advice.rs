//! Advice about another process's memory: process_madvise(2).

use std::os::fd::AsRawFd;

use dormouse_wire::Pid;

use super::memory::{MAX_RANGES, RemoteRange};
use super::{Answer, Errno, checked, pidfd};

/// Moves the pages of these ranges to swap, MADV_PAGEOUT. Ranges that cannot be moved, such as locked ones, stay. Linux 5.10;
/// wants PTRACE_MODE_READ and CAP_SYS_NICE.
pub fn page_out(pid: Pid, ranges: &[RemoteRange]) -> Answer<()> {
    let process = pidfd::open(pid)?;
    let mut left = ranges;
    while !left.is_empty() {
        let vectors: Vec<libc::iovec> = left
            .iter()
            .take(MAX_RANGES)
            .map(|range| libc::iovec { iov_base: range.start.0 as *mut libc::c_void, iov_len: range.length })
            .collect();
        // SAFETY: the kernel reads `vectors`, which lives through the call; they name another process's memory.
        let advised = checked(unsafe {
            libc::syscall(
                libc::SYS_process_madvise,
                process.as_raw_fd(),
                vectors.as_ptr(),
                vectors.len(),
                libc::MADV_PAGEOUT,
                0,
            )
        });
        let bytes = match advised {
            Ok(bytes) => bytes as usize,
            Err(errno @ (Errno::EPERM | Errno::ESRCH | Errno::ENOSYS)) => return Err(errno),
            Err(_) => 0,
        };
        // It stops at the first range that it cannot move: that one is left out.
        left = &left[whole(left, vectors.len(), bytes)..];
    }
    Ok(())
}

/// How many of the first ranges are done with, when so many bytes were: the one at which the work has stopped, too.
fn whole(ranges: &[RemoteRange], most: usize, bytes: usize) -> usize {
    let mut done = 0;
    for (index, range) in ranges[..most].iter().enumerate() {
        done += range.length;
        if done > bytes {
            return index + 1;
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RemotePtr;

    #[test]
    fn what_cannot_be_moved_does_not_stop_the_rest() -> Answer<()> {
        let memory = vec![1_u8; 1 << 20];
        let page = (memory.as_ptr().addr() as u64).next_multiple_of(4096);
        let ranges = [4096, page, 4096, page].map(|start| RemoteRange { start: RemotePtr(start), length: 4096 });
        page_out(Pid(std::process::id() as i32), &ranges)?;
        assert!(memory.iter().all(|byte| *byte == 1));
        Ok(())
    }

    #[test]
    fn the_range_that_cannot_be_moved_is_left_out() {
        let ranges = [4096, 8192, 4096].map(|length| RemoteRange { start: RemotePtr(0), length });
        assert_eq!([0, 4096, 12288, 16384].map(|bytes| whole(&ranges, 3, bytes)), [1, 2, 3, 3]);
    }
}
