//! The watches of all sets, added again: each by the process that had added it, under the number it was added by, while
//! the process has every file of the group under the engine's numbers.

// zoo: no kind

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd};

use dormouse_wire::{Pid, Problem, ProblemKind, phrase};

use super::used_up::{self, ANYTHING, Roused};
use super::{NAME, Record, Watch};
use crate::arguments;
use crate::puppet::{Batch, Slot};
use crate::resource::fd::{FileId, OpenFile, typed};

/// The number under which everybody has a file.
type Made<'a> = dyn Fn(FileId) -> Option<BorrowedFd<'a>> + 'a;

/// What the processes have to do, by pid.
#[derive(Debug, Default)]
pub struct Watching {
    /// First: watches that are used up. What they watch is ready as long as this lives.
    pub used_up: BTreeMap<Pid, Batch>,
    /// Then all others.
    pub armed: BTreeMap<Pid, Batch>,
    roused: Vec<Roused>,
}

/// The sets among these files, with their records.
pub(super) fn sets(files: &[OpenFile]) -> impl Iterator<Item = Result<(FileId, Record), Problem>> {
    let sets = files.iter().enumerate().filter(|(_, file)| file.kind == NAME);
    sets.map(|(id, file)| Ok((FileId(id), typed(file)?)))
}

/// The highest number under which anything was added: the engine's own lie above it.
pub fn highest(files: &[OpenFile]) -> Option<i32> {
    sets(files).flatten().flat_map(|(_, record)| record.watches).map(|watch| watch.number.0).max()
}

impl Watching {
    /// All that is to be done.
    pub fn of(files: &[OpenFile], made: &Made<'_>) -> Result<Self, Problem> {
        let mut watching = Self::default();
        for set in sets(files) {
            let (id, record) = set?;
            let set = find(made, id)?;
            let mut used_up: BTreeMap<Pid, usize> = BTreeMap::new();
            for watch in &record.watches {
                let target = find(made, watch.file)?;
                if watch.is_used_up() && watching.is_roused(&files[watch.file.0], target)? {
                    let told = Watch { events: watch.events | u32::from(ANYTHING as u16), ..*watch };
                    add(watching.used_up.entry(watch.pid).or_default(), set, target, &told);
                    *used_up.entry(watch.pid).or_default() += 1;
                } else {
                    add(watching.armed.entry(watch.pid).or_default(), set, target, watch);
                }
            }
            for (pid, count) in used_up {
                take(watching.used_up.entry(pid).or_default(), set, count);
            }
        }
        Ok(watching)
    }

    fn is_roused(&mut self, file: &OpenFile, made: BorrowedFd<'_>) -> Result<bool, Problem> {
        if !used_up::is_ready(&made) {
            self.roused.extend(Roused::begin(file, made).map_err(super::failed)?);
        }
        Ok(used_up::is_ready(&made))
    }

    /// What was ready for a moment is so no more.
    pub fn calm(&mut self) {
        self.roused.clear();
    }
}

fn find<'a>(made: &Made<'a>, id: FileId) -> Result<BorrowedFd<'a>, Problem> {
    let what = phrase!("the image contradicts itself: an epoll set watches a file that is not there");
    made(id).ok_or_else(|| Problem::blocks(ProblemKind::Image, what))
}

/// `struct epoll_event`, which is packed on x86-64 alone.
fn event(batch: &mut Batch, watch: &Watch) -> Slot {
    // It keeps the machine awake, which takes a privilege that the engine has and its program may not.
    let events = watch.events & !(libc::EPOLLWAKEUP as u32);
    let mut bytes = vec![0; size_of::<libc::epoll_event>()];
    bytes[..4].copy_from_slice(&events.to_ne_bytes());
    let data = std::mem::offset_of!(libc::epoll_event, u64);
    bytes[data..data + 8].copy_from_slice(&watch.data.to_ne_bytes());
    batch.bytes(&bytes)
}

fn add(batch: &mut Batch, set: BorrowedFd<'_>, target: BorrowedFd<'_>, watch: &Watch) {
    let number = watch.number.0;
    let purpose = format!("open descriptor {number} for an epoll set");
    batch.must(purpose, libc::SYS_dup3, arguments![target.as_raw_fd(), number, libc::O_CLOEXEC]);
    let event = event(batch, watch);
    let purpose = format!("watch descriptor {number}");
    batch.must(purpose, libc::SYS_epoll_ctl, arguments![set.as_raw_fd(), libc::EPOLL_CTL_ADD, number, event]);
}

/// Lets watches tell what they have to, and beside them what the set may have been roused with.
fn take(batch: &mut Batch, set: BorrowedFd<'_>, count: usize) {
    let count = count + 1;
    let events = batch.space(count * size_of::<libc::epoll_event>());
    let purpose = "use up one-shot watches";
    // With null for a signal mask this is epoll_wait(2), which not every processor has.
    batch.must(purpose, libc::SYS_epoll_pwait, arguments![set.as_raw_fd(), events, count, 0, 0, 8]);
}
