//! An event that says that events were lost, IN_Q_OVERFLOW: the kernel alone can give it, to a queue that is full.

// zoo: no kind

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};

use crate::kernel::{Answer, Errno, files, inotify};
use crate::resource::fd::own_path;

/// How long a queue may be to be filled; the system's own is 16384.
const LONGEST: usize = 1 << 17;
/// `struct inotify_event` without a name.
const EVENT: usize = 16;

/// A file of the engine's own, to be watched and changed.
#[derive(Debug)]
pub struct Filler {
    file: File,
    /// The number that the next watch has.
    pub next: i32,
}

impl Filler {
    /// A filler for a descriptor that watches nothing yet.
    pub fn new() -> Answer<Self> {
        let made = nix::sys::memfd::memfd_create(c"filler", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)?;
        // Of what is written to a memory file the kernel tells only if it was opened like any other.
        let file = files::open(own_path(&made).as_ref(), libc::O_RDWR)?;
        Ok(Self { file: file.into(), next: 1 })
    }

    fn add(&mut self, made: &OwnedFd, mask: u32) -> Answer<i32> {
        let number = inotify::add(made, own_path(&self.file).as_ref(), mask)?;
        self.next = number + 1;
        Ok(number)
    }

    /// Takes the next number and gives it back.
    pub fn skip(&mut self, made: &OwnedFd) -> Answer<()> {
        let number = self.add(made, libc::IN_MODIFY)?;
        inotify::remove(made, number)?;
        drain(made, 0)
    }

    /// Leaves the queue with nothing in it but the news that events were lost.
    pub fn overflow(&mut self, made: &OwnedFd) -> Answer<()> {
        let number = self.add(made, libc::IN_MODIFY | libc::IN_ATTRIB)?;
        let longest = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events");
        let longest = longest.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(LONGEST).min(LONGEST);
        // Two events of one sort in a row would be one.
        for turn in 0..=longest {
            if turn % 2 == 0 {
                self.file.write_at(b"!", 0).map_err(errno)?;
            } else {
                self.file.set_permissions(PermissionsExt::from_mode(0o600)).map_err(errno)?;
            }
        }
        // Its last word finds no room any more.
        inotify::remove(made, number)?;
        drain(made, EVENT)
    }
}

fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Reads what waits, but for the last so many bytes.
fn drain(made: &impl AsFd, but: usize) -> Answer<()> {
    let mut waiting = files::bytes_waiting(made)?.saturating_sub(but);
    let mut file = File::from(made.as_fd().try_clone_to_owned().map_err(errno)?);
    while waiting > 0 {
        let mut buffer = vec![0; waiting.min(1 << 20)];
        match file.read(&mut buffer).map_err(errno)? {
            0 => break,
            read => waiting -= read.min(waiting),
        }
    }
    Ok(())
}
