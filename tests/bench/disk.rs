//! What the disk itself takes: `dd` with O_DIRECT, one request at a time, 4 MiB each.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Writes all of a file to the disk, and waits until it is there; then reads it back.
pub fn write_and_read(source: &File, to: &Path) -> (Duration, Duration) {
    let mut from = source.try_clone().unwrap_or_else(|error| panic!("{error}"));
    from.seek(SeekFrom::Start(0)).unwrap_or_else(|error| panic!("{error}"));
    let (to, name) = (to.join("dd"), to.join("dd").display().to_string());
    let written = dd(from.into(), &["bs=4M", "oflag=direct", "conv=fsync", &format!("of={name}")]);
    let read = dd(Stdio::null(), &["bs=4M", "iflag=direct", &format!("if={name}"), "of=/dev/null"]);
    std::fs::remove_file(&to).unwrap_or_else(|error| panic!("{name}: {error}"));
    (written, read)
}

fn dd(input: Stdio, arguments: &[&str]) -> Duration {
    let begin = Instant::now();
    let status = Command::new("dd").args(arguments).stdin(input).stderr(Stdio::null()).status();
    let lasted = begin.elapsed();
    assert!(status.is_ok_and(|status| status.success()), "dd {} failed", arguments.join(" "));
    lasted
}

/// Takes a file out of the page cache, posix_fadvise(2).
pub fn forget(path: &Path) {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // SAFETY: takes numbers only.
    let done = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    assert_eq!(done, 0, "posix_fadvise: {done}");
}
