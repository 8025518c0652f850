//! System V shared memory, shmget(2), shmat(2): a segment lives in the system by its id, not in a process. One that is still
//! there at the thaw is attached again, with what it holds by then, as a file would be; one that is gone is made again with
//! its id, key, rights and content. A segment that was marked as removed (SHM_DEST) goes with the group, and comes back so.

// zoo: segments_attached segments_removed segments_apart

use std::collections::HashMap;

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};

use super::mapping::{Backing, Mapping, PAGE, is_ordinary};
use crate::image::{PageBuffer, PageSink, Reader};
use crate::kernel::system_v::{self, Attached};
use crate::kernel::{Answer, Errno, huge_pages, outside};
use crate::proc;
use crate::proc::maps::MappingName;
use crate::proc::system_v as seen;
use crate::resource::content::{self, Stored};
use crate::resource::task::credentials::Credentials;

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its id.
    pub id: i32,
    /// The key it was made with; 0: none (IPC_PRIVATE).
    pub key: i32,
    /// Its size in bytes.
    pub size: u64,
    /// Its permissions.
    pub mode: u32,
    /// User and group it belongs to.
    pub owner: (u32, u32),
    /// User and group that made it.
    pub creator: (u32, u32),
    /// SHM_DEST: it is removed, and goes with its last attachment.
    pub removed: bool,
    /// Its pages that are not all zeros, in order.
    pub pages: Vec<Stored>,
    /// The size of the huge pages that it consists of (SHM_HUGETLB), bytes; 0: of ordinary pages.
    #[serde(default, skip_serializing_if = "is_ordinary")]
    pub huge_page: u64,
}

/// What a mapping of a segment is called: `/SYSV` and the key it was made with.
const NAME: &[u8] = b"/SYSV";

/// Whether a mapping is of a segment. Its inode number is the segment's id, then.
pub fn is_one(found: &proc::maps::Mapping) -> bool {
    matches!(&found.name, MappingName::File(path) if path.starts_with(NAME) && proc::strip_deleted(path).1)
}

/// The key in the name of a mapping; that of a removed segment is told nowhere else.
fn key(path: &[u8]) -> Option<i32> {
    let digits = proc::strip_deleted(path).0.strip_prefix(NAME)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().map(|key| key as i32)
}

/// For a person.
pub fn shown(id: i32) -> Phrase {
    phrase!("System V shared memory {id}", id)
}

/// The segments of a group, each once.
#[derive(Debug, Default)]
pub struct Segments {
    /// The records.
    pub records: Vec<Segment>,
    known: HashMap<i32, usize>,
}

impl Segments {
    /// The index of the segment that a mapping is of, recorded where it has not been; `file` is what it shows.
    pub fn index(
        &mut self,
        found: &proc::maps::Mapping,
        file: impl FnOnce() -> std::io::Result<std::fs::File>,
        sink: &PageSink,
        buffer: &mut PageBuffer,
    ) -> Result<usize, Problem> {
        let id = found.inode as i32;
        if let Some(known) = self.known.get(&id) {
            return Ok(*known);
        }
        let failed = |error: std::io::Error| {
            Problem::blocks(ProblemKind::Memory, phrase!("its content cannot be read: {why}", why = error))
                .at(shown(id))
        };
        let segment = seen::segments().into_iter().find(|segment| segment.id == id).ok_or_else(|| gone(id))?;
        let MappingName::File(path) = &found.name else { return Err(gone(id)) };
        let file = file().map_err(failed)?;
        let record = segment_of(&segment, key(path).unwrap_or(segment.key), &file);
        let pages = content::capture_pages(&file, record.length(), sink, buffer, &failed)?;
        self.records.push(Segment { pages, ..record });
        self.known.insert(id, self.records.len() - 1);
        Ok(self.records.len() - 1)
    }
}

impl Segments {
    /// Records those that nobody has attached, of an ipc namespace that is the group's alone.
    pub fn of_nobody(&mut self, sink: &PageSink, buffer: &mut PageBuffer) -> Result<(), Problem> {
        if !outside::has_own("ipc") {
            return Ok(());
        }
        for segment in seen::segments().into_iter().filter(|segment| !self.known.contains_key(&segment.id)) {
            let failed = |error: std::io::Error| {
                let problem =
                    Problem::blocks(ProblemKind::Memory, phrase!("its content cannot be read: {why}", why = error));
                problem.at(shown(segment.id))
            };
            let attached = Attached::to(segment.id, false).map_err(|errno| failed(errno.into()))?;
            let file = attached.file(segment.size, false).map_err(failed)?;
            let record = segment_of(&segment, segment.key, &file);
            let pages = content::capture_pages(&file, record.length(), sink, buffer, &failed)?;
            self.records.push(Segment { pages, ..record });
        }
        Ok(())
    }
}

/// Without its pages; `file`: what is behind it.
fn segment_of(found: &seen::Segment, key: i32, file: &std::fs::File) -> Segment {
    Segment {
        id: found.id,
        key,
        size: found.size,
        mode: found.mode & 0o777,
        owner: found.owner,
        creator: found.creator,
        removed: found.mode & seen::REMOVED != 0,
        pages: Vec::new(),
        huge_page: huge_pages::size_of(file).unwrap_or(0),
    }
}

fn gone(id: i32) -> Problem {
    Problem::blocks(ProblemKind::Memory, phrase!("it is not there any more, or in another ipc namespace")).at(shown(id))
}

/// Whether these mappings of one segment, in the order of their addresses, are all of one attachment of it; `length`: that of the
/// segment. What was unmapped in between, or moved elsewhere (mremap(2)), is missing.
pub fn is_whole<'a>(parts: impl Iterator<Item = &'a Mapping>, length: u64) -> bool {
    let (mut next, mut begin) = (0, None);
    for part in parts {
        let attached = part.start.wrapping_sub(part.offset);
        if part.offset != next || *begin.get_or_insert(attached) != attached {
            return false;
        }
        next = part.offset + part.length();
    }
    next == length
}

impl Segment {
    /// Whether this is it.
    fn is(&self, found: &seen::Segment) -> bool {
        !self.removed
            && found.mode & seen::REMOVED == 0
            && !self.is_begun(found)
            && (found.id, found.key, found.size, found.creator) == (self.id, self.key, self.size, self.creator)
    }

    /// Whether this is what a thaw that was killed has begun to make of it: nobody has a right to it yet.
    fn is_begun(&self, found: &seen::Segment) -> bool {
        (found.id, found.size, found.creator) == (self.id, self.size, self.creator)
            && (found.mode & 0o777, found.attached) == (0, 0)
            && self.mode != 0
    }

    /// Whether it can be at all.
    pub fn is_possible(&self) -> bool {
        let page = self.huge_page == 0 || huge_pages::is_possible(self.huge_page);
        self.id >= 0 && self.size > 0 && self.size <= 1 << 48 && self.mode & !0o777 == 0 && page
    }

    /// How long its content is: whole huge pages, where it consists of such.
    pub fn length(&self) -> u64 {
        if self.huge_page == 0 { self.size } else { self.size.next_multiple_of(self.huge_page) }
    }

    /// How long what is mapped of it is: whole pages.
    pub fn attached_length(&self) -> u64 {
        self.size.next_multiple_of(self.huge_page.max(PAGE))
    }

    /// Whether it is there.
    pub fn is_among(&self, there: &[seen::Segment]) -> bool {
        there.iter().any(|found| self.is(found))
    }

    /// What stands in the way of it, when these are there.
    pub fn preflight(&self, there: &[seen::Segment]) -> Option<Problem> {
        let refuse = |what: Phrase, other: i32| {
            let problem = Problem::blocks(ProblemKind::Memory, what).at(shown(self.id));
            Some(problem.way_out(phrase!("End who uses that segment, or remove it (ipcrm -m {other})", other)))
        };
        if let Some(found) = there.iter().find(|found| found.id == self.id) {
            return if self.is(found) || self.is_begun(found) {
                None
            } else {
                refuse(phrase!("another segment has its id now"), found.id)
            };
        }
        let same_key = |found: &&seen::Segment| self.key != 0 && !self.removed && found.key == self.key;
        let found = there.iter().find(same_key)?;
        refuse(phrase!("its key {key} belongs to another segment now", key = format_args!("{:#x}", self.key)), found.id)
    }

    /// What stands in the way of attaching it by somebody, if it is there already: rights may have been taken away, and a
    /// record may lie.
    pub fn is_denied(&self, there: &[seen::Segment], who: &Credentials, to_write: bool) -> Option<Problem> {
        let found = there.iter().find(|found| self.is(found))?;
        let user = who.users[1];
        (!lets(found, who, to_write)).then(|| {
            let what = if to_write {
                phrase!("user {user} may not attach it to write", user)
            } else {
                phrase!("user {user} may not attach it to read", user)
            };
            Problem::blocks(ProblemKind::Memory, what).at(shown(self.id))
        })
    }
}

/// Whether somebody may attach it, as the kernel decides it (ipcperms of ipc/util.c).
fn lets(found: &seen::Segment, who: &Credentials, to_write: bool) -> bool {
    const CAP_IPC_OWNER: u64 = 1 << 15;
    let user = who.users[1];
    let is_in = |group: u32| who.groups[1] == group || who.supplementary.contains(&group);
    let granted = if user == found.owner.0 || user == found.creator.0 {
        found.mode >> 6
    } else if is_in(found.owner.1) || is_in(found.creator.1) {
        found.mode >> 3
    } else {
        found.mode
    };
    let wanted = if to_write { 0o6 } else { 0o4 };
    granted & wanted == wanted || who.effective & CAP_IPC_OWNER != 0
}

/// A segment that the thaw holds on to. Dropped before it is [kept](Self::keep), it goes, if the thaw has made it.
#[derive(Debug)]
pub struct Made {
    id: i32,
    attached: Option<Attached>,
    is_new: bool,
}

impl Made {
    /// Finds a segment or makes it, without its content. With it in hand, nobody else can have its id.
    pub fn find_or_make(record: &Segment) -> Result<Self, Problem> {
        let failed = |what: Phrase, errno: Errno| {
            let kind =
                if errno == Errno::ENOSPC || errno == Errno::ENOMEM { ProblemKind::Space } else { ProblemKind::Memory };
            let problem = Problem::blocks(kind, phrase!("it cannot be {what}: {why}", what, why = errno.desc()))
                .at(shown(record.id));
            if errno == Errno::ENOSPC || errno == Errno::EINVAL {
                problem.way_out(phrase!("Raise kernel.shmmax, kernel.shmall or kernel.shmmni (sysctl)"))
            } else {
                problem
            }
        };
        if seen::segments().iter().any(|found| record.is_begun(found)) {
            system_v::remove_segment(record.id).map_err(|errno| failed(phrase!("made anew"), errno))?;
        }
        let attached = Attached::to(record.id, true);
        let is_new = match &attached {
            Ok(_) => false,
            Err(Errno::EINVAL | Errno::EIDRM) => true,
            Err(errno) => return Err(failed(phrase!("attached"), *errno)),
        };
        if is_new {
            make(record).map_err(|errno| failed(phrase!("made again"), errno))?;
        }
        // From here on it goes again if the thaw fails.
        let mut made = Self { id: record.id, attached: None, is_new };
        made.attached = Some(match attached {
            Ok(attached) => attached,
            Err(_) => Attached::to(record.id, true).map_err(|errno| failed(phrase!("attached"), errno))?,
        });
        let there = seen::segments();
        if !is_new && !there.iter().any(|found| record.is(found)) {
            return Err(
                Problem::blocks(ProblemKind::Memory, phrase!("another segment has its id now")).at(shown(record.id))
            );
        }
        Ok(made)
    }

    /// Whether it is this one, and the thaw has found it.
    pub fn was_there(&self, id: i32) -> bool {
        self.id == id && !self.is_new
    }

    /// Gives it its content, then its owner and permissions.
    pub fn fill(&self, record: &Segment, reader: &Reader, buffer: &mut PageBuffer) -> Result<(), Problem> {
        let (Some(attached), true) = (&self.attached, self.is_new) else { return Ok(()) };
        let failed = |error: std::io::Error| {
            Problem::blocks(ProblemKind::Memory, phrase!("its content cannot be given back: {why}", why = error))
                .at(shown(record.id))
        };
        let file = attached.file(record.size, true).map_err(failed)?;
        for stored in &record.pages {
            content::fill(&file, record.length(), stored, (reader, buffer), &failed)?;
        }
        system_v::give_segment(self.id, record.owner, record.mode).map_err(|errno| failed(errno.into()))
    }

    /// Everybody has attached it: if it was removed, it stays for so long only.
    pub fn remove_again(&self, record: &Segment) -> Result<(), Problem> {
        if !record.removed {
            return Ok(());
        }
        system_v::remove_segment(self.id).map_err(|errno| {
            let what = phrase!("it cannot be marked as removed again: {why}", why = errno.desc());
            Problem::blocks(ProblemKind::Memory, what).at(shown(record.id))
        })
    }

    /// The group runs: it stays.
    pub fn keep(mut self) {
        self.is_new = false;
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.is_new
            && let Err(error) = system_v::remove_segment(self.id)
        {
            tracing::error!(%error, id = self.id, "a segment of shared memory stays in the system");
        }
    }
}

/// Makes a segment under its id. Others may make some at the same time: then it is tried again.
fn make(record: &Segment) -> Answer<()> {
    const TRIES: usize = 20;
    for _ in 0..TRIES {
        system_v::choose_segment_id(record.id)
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
        let pages = if record.huge_page == 0 { 0 } else { huge_pages::of_segment(record.huge_page) };
        let made = match system_v::make_segment(record.key, record.size, pages, record.creator) {
            // The name of a removed one is all that is left of its key.
            Err(Errno::EEXIST) if record.removed => system_v::make_segment(0, record.size, pages, record.creator),
            made => made,
        }?;
        if made == record.id {
            return Ok(());
        }
        system_v::remove_segment(made)?;
    }
    Err(Errno::EBUSY)
}

/// With which credentials a process attaches what it had attached, and whether to write; by the index of the segment.
pub fn attachments(mappings: &[Mapping]) -> impl Iterator<Item = (usize, bool)> {
    use crate::proc::maps::VmFlags;
    mappings.iter().filter_map(|mapping| match mapping.backing {
        Backing::Segment(index) => Some((index, mapping.flags.contains(VmFlags::MAY_WRITE))),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use dormouse_wire::Pid;

    use super::*;

    fn part(start: u64, end: u64, offset: u64) -> Mapping {
        Mapping {
            start,
            end,
            protection: libc::PROT_READ,
            flags: proc::maps::VmFlags::MAY_SHARE,
            backing: Backing::Segment(0),
            offset,
            name: None,
            protection_key: 0,
            policy: None,
            pages: Vec::new(),
            guards: Vec::new(),
            huge_page: 0,
        }
    }

    #[test]
    fn a_segment_is_attached_as_a_whole_or_in_parts() {
        assert!(key(b"/SYSV0000002a (deleted)") == Some(42) && key(b"/SYSVffffffff (deleted)") == Some(-1));
        let (one, two) = (part(0x1000, 0x2000, 0), part(0x2000, 0x4000, 0x1000));
        let moved = part(0x9000, 0xb000, 0x1000);
        assert!(is_whole([&one, &two].into_iter(), 0x3000));
        assert!(!is_whole([&one].into_iter(), 0x3000) && !is_whole([&two].into_iter(), 0x3000));
        assert!(!is_whole([&one, &moved].into_iter(), 0x3000) && !is_whole(std::iter::empty(), 0x1000));
    }

    #[test]
    fn rights_are_what_the_kernel_makes_of_them() {
        let record = Segment {
            id: 7,
            key: 42,
            size: 100,
            mode: 0o640,
            owner: (1000, 1000),
            creator: (1000, 1000),
            removed: false,
            pages: Vec::new(),
            huge_page: 0,
        };
        let found = seen::Segment {
            key: 42,
            id: 7,
            mode: 0o640,
            size: 100,
            users: [Pid(1), Pid(2)],
            attached: 1,
            owner: (1000, 1000),
            creator: (1000, 1000),
            time: 0,
        };
        let who =
            |user: u32, group: u32| Credentials { users: [user; 4], groups: [group; 4], ..Credentials::default() };
        let lets = |user, group, to_write| record.is_denied(&[found], &who(user, group), to_write).is_none();
        assert!(lets(1000, 5, true) && lets(5, 1000, false) && !lets(5, 1000, true) && !lets(5, 5, false));
        assert!(record.preflight(&[found]).is_none());
        assert!(record.preflight(&[seen::Segment { size: 101, ..found }]).is_some());
        assert!(record.preflight(&[seen::Segment { id: 8, ..found }]).is_some());
        assert!(record.preflight(&[seen::Segment { id: 8, key: 43, ..found }]).is_none());
    }
}
