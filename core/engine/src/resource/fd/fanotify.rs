//! Watches over files, mounts and filesystems, fanotify(7): what is watched, for what.
//!
//! What happened while the group slept nobody has watched: the program is told so as the kernel tells it, by an event
//! FAN_Q_OVERFLOW, after which it has to look for itself. Whoever decides about what others may open is not stopped at all
//! ([`DECIDES`]): they would all wait, and Dormouse with them.

// zoo: fanotify fanotify_mounts fanotify_by_directory fanotify_borrowed fanotify_decides fanotify_decides_aside

mod missed;

use std::os::fd::OwnedFd;
use std::path::Path;

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::watched::{self, Mounts, Place, Watched};
use super::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, not_made, path_of};
use crate::kernel::identity::{Acting, Identity};
use crate::kernel::{Answer, Errno, fanotify, files};
use crate::proc::fdinfo::FdDetail;
use crate::resource::moves::Moving;
use crate::resource::named_file::{Owner, shown};
use crate::resource::owners::Walk;

/// The kind.
#[derive(Debug)]
pub struct Fanotify;

/// A descriptor that watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it tells of, and how: FAN_CLASS_* and FAN_REPORT_* of fanotify_init(2).
    flags: u32,
    /// How the files are opened that it tells of.
    event_flags: u32,
    /// What it watches, the last one first.
    marks: Vec<Mark>,
    /// With whose rights.
    owner: Owner,
}

/// A mark, fanotify_mark(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// Whether all of a mount or of a filesystem is watched.
    extent: Extent,
    /// What is watched, or something on it.
    path: ByteBuf,
    /// FAN_*: for what.
    mask: u64,
    /// What is not told of.
    ignored: u64,
    /// FAN_MARK_*: how.
    flags: u32,
}

/// How far a mark reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Extent {
    /// A file or directory, and the files in it.
    Inode,
    /// All that is opened through a mount.
    Mount,
    /// A whole filesystem.
    Filesystem,
}

/// FAN_CLOEXEC to FAN_ENABLE_AUDIT and FAN_REPORT_PIDFD to FAN_REPORT_FD_ERROR, fanotify_init(2).
const GROUP_FLAGS: u32 = 0x3fff;
/// FAN_MARK_IGNORED_SURV_MODIFY, FAN_MARK_EVICTABLE, FAN_MARK_IGNORE.
const MARK_FLAGS: u32 = SURVIVES | libc::FAN_MARK_EVICTABLE | libc::FAN_MARK_IGNORE;
const SURVIVES: u32 = libc::FAN_MARK_IGNORED_SURV_MODIFY;
/// All that can be watched for, FAN_ACCESS to FAN_RENAME, with FAN_EVENT_ON_CHILD and FAN_ONDIR, but for what [`DECIDES`].
const EVENTS: u64 = 0x5800_9fff;
/// FAN_OPEN_PERM, FAN_ACCESS_PERM, FAN_OPEN_EXEC_PERM, FAN_PRE_ACCESS: whoever does this waits for an answer.
pub const DECIDES: u64 = 0x17_0000;

impl FileKind for Fanotify {
    type Record = Record;

    fn name(&self) -> &'static str {
        "fanotify"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        facts.link == b"anon_inode:[fanotify]"
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        let mut problems = files.refuse_shared(facts, ProblemKind::AnonymousFile);
        let refuse =
            |what: Phrase| facts.problem(ProblemKind::AnonymousFile, what).way_out(phrase!("Pause the group instead"));
        let (user, mounts) = (facts.owner.user, Mounts::here());
        let beyond = |what| {
            let problem = facts.problem(ProblemKind::Privilege, what);
            problem.way_out(phrase!("Pause the group instead, or let the program make it as the user it is now"))
        };
        match group(facts) {
            Some((flags, _)) if user != 0 && !is_anybodys(flags) => {
                problems.push(beyond(phrase!("it was made with rights that user {user} does not have now", user)));
            }
            Some((flags, _)) if !can_be_told(flags) => {
                let what = phrase!("nobody watches for it while the group sleeps");
                let loss = phrase!("the events until the thaw; the program is not told that it misses some");
                problems.push(facts.loss(ProblemKind::AnonymousFile, what, loss));
            }
            Some((flags, _)) if flags & !GROUP_FLAGS == 0 => {}
            _ => problems.push(refuse(phrase!("how it watches cannot be read"))),
        }
        for line in marks(facts) {
            match Mark::read(line, files, &mounts) {
                Ok(mark) if user != 0 && mark.extent != Extent::Inode => {
                    problems.push(beyond(phrase!(
                        "one of its marks takes rights that user {user} does not have now",
                        user
                    )));
                }
                Ok(_) => {}
                Err(Unkept::Removed) => {
                    let what = phrase!("what one of its marks looks at has been removed");
                    problems.push(facts.loss(ProblemKind::AnonymousFile, what, phrase!("that mark")));
                }
                Err(Unkept::Unknown) => problems.push(refuse(phrase!("what one of its marks looks at cannot be told"))),
                Err(Unkept::Odd) => {
                    problems.push(refuse(phrase!("one of its marks is of a sort that cannot be given back")));
                }
            }
        }
        if files::bytes_waiting(&facts.file).is_ok_and(|waiting| waiting > 0) {
            let what = phrase!("it holds events that the program has not read yet");
            let loss = phrase!("these events; the program is told that it has lost some");
            problems.push(facts.loss(ProblemKind::AnonymousFile, what, loss));
        }
        problems
    }

    fn capture(&self, facts: &FileFacts, capture: &mut Capture<'_>) -> Result<Record, Problem> {
        let (flags, event_flags) = group(facts)
            .ok_or_else(|| facts.problem(ProblemKind::AnonymousFile, phrase!("how it watches cannot be read")))?;
        // What cannot be kept has been told of.
        let mounts = Mounts::here();
        let marks = marks(facts).filter_map(|line| Mark::read(line, capture.files, &mounts).ok()).collect();
        Ok(Record { flags, event_flags, marks, owner: facts.owner.clone() })
    }

    fn moved(&self, record: &mut Record, moving: &mut Moving<'_>) {
        record.marks.iter_mut().for_each(|mark| moving.path(&mut mark.path));
    }

    fn led(&self, record: &mut Record, walk: &mut Walk<'_>) {
        record.owner.led(walk);
    }

    fn preflight(&self, record: &Record, _file: &OpenFile) -> Vec<Problem> {
        if !is_possible(record) {
            let what = phrase!("the image contradicts itself: it has an impossible watch over files");
            return vec![Problem::blocks(ProblemKind::Image, what)];
        }
        let mut problems: Vec<Problem> = make(record).err().map(failed).into_iter().collect();
        let mounts = Mounts::here();
        for mark in &record.marks {
            let path = path_of(&mark.path);
            // A mark that reaches further would watch whatever lies there now.
            let is_mounted = || mounts.reached(|mount| *mount.mount_point == **mark.path).is_some();
            let seen = path
                .symlink_metadata()
                .map_err(|error| phrase!("what the group watched cannot be found: {why}", why = error));
            let what = match seen.map(|_| mark.extent) {
                Err(what) => what,
                Ok(Extent::Inode) => match may_watch(record, &path) {
                    Ok(()) => continue,
                    Err(errno) => {
                        phrase!("what the group watched may not be watched any more: {why}", why = errno.desc())
                    }
                },
                Ok(Extent::Mount | Extent::Filesystem) if is_mounted() => continue,
                Ok(_) => phrase!("what the group watched is no mount any more"),
            };
            problems.push(Problem::loses(ProblemKind::AnonymousFile, what, phrase!("that mark")).at(shown(&path)));
        }
        problems
    }

    fn restore(
        &self,
        record: &Record,
        _id: FileId,
        file: &OpenFile,
        _restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        let made = make(record).map_err(failed)?;
        files::set_status(&made, file.flags).map_err(failed)?;
        Ok(made)
    }

    fn starts_ready(&self, record: &Record) -> bool {
        !record.marks.is_empty() && can_be_told(record.flags)
    }

    /// Now, when the engine opens no more files that are watched.
    fn start(&self, record: &Record, file: &OpenFile, made: &OwnedFd) -> Result<(), Problem> {
        if record.marks.is_empty() {
            return Ok(());
        }
        tell(record, file, made).map_err(|errno| {
            let what = phrase!("the program cannot be told that it missed events: {why}", why = errno.desc());
            let problem = Problem::blocks(ProblemKind::AnonymousFile, what);
            problem.way_out(phrase!("Make room for some thousand files in /dev/shm or /tmp"))
        })?;
        watch(record, made).map_err(failed)
    }
}

fn failed(errno: Errno) -> Problem {
    let problem = not_made(phrase!("a watch over files"), errno);
    match errno {
        Errno::EMFILE => problem.way_out(phrase!("Raise fs.fanotify.max_user_groups (sysctl)")),
        Errno::ENOSPC => problem.way_out(phrase!("Raise fs.fanotify.max_user_marks (sysctl)")),
        _ => problem,
    }
}

fn is_possible(record: &Record) -> bool {
    let is_mark = |mark: &Mark| {
        (mark.mask | mark.ignored) & !EVENTS == 0 && mark.flags & !MARK_FLAGS == 0 && mark.path.starts_with(b"/")
    };
    record.flags & !GROUP_FLAGS == 0 && record.marks.iter().all(is_mark)
}

/// Why a mark is not kept.
enum Unkept {
    Removed,
    Unknown,
    Odd,
}

impl Mark {
    /// Reads a line of fdinfo: of a file `fanotify ino:3c4a7 sdev:fe00000 mflags:0 mask:3b ignored_mask:0 fhandle-bytes:…`, of a
    /// mount `fanotify mnt_id:1d mflags:…`, of a filesystem `fanotify sdev:fe00000 mflags:…`; all hexadecimal.
    fn read(line: &[u8], files: &FilesFacts, mounts: &Mounts) -> Result<Self, Unkept> {
        let number = |key: &[u8]| watched::number(line, key);
        let (Some(mask), Some(ignored)) = (number(b"mask"), number(b"ignored_mask")) else { return Err(Unkept::Odd) };
        let flags = number(b"mflags").unwrap_or(0) as u32;
        if (mask | ignored) & !EVENTS != 0 || flags & !MARK_FLAGS != 0 {
            return Err(Unkept::Odd);
        }
        let (extent, path) = if let Some(id) = number(b"mnt_id") {
            (Extent::Mount, mounts.reached(|mount| mount.id as u64 == id))
        } else if number(b"ino").is_some() {
            let place = Watched::parse(line).map_or(Place::Unknown, |watched| watched.place(files, mounts));
            match place {
                Place::Path(path) => (Extent::Inode, Some(path)),
                Place::Removed => return Err(Unkept::Removed),
                Place::Unknown => (Extent::Inode, None),
            }
        } else if let Some(device) = watched::device(line) {
            (Extent::Filesystem, mounts.reached(|mount| mount.device == device))
        } else {
            return Err(Unkept::Odd);
        };
        let path = path.ok_or(Unkept::Unknown)?.into_os_string().into_encoded_bytes();
        Ok(Self { extent, path: ByteBuf::from(path), mask, ignored, flags })
    }
}

/// FAN_CLASS_* and FAN_REPORT_*, and how files are opened, from `fanotify flags:200 event-flags:0`.
fn group(facts: &FileFacts) -> Option<(u32, u32)> {
    let own = |line| Some((watched::number(line, b"flags")? as u32, watched::number(line, b"event-flags")? as u32));
    lines(&facts.info.details).find_map(own)
}

/// The lines of its marks.
fn marks(facts: &FileFacts) -> impl Iterator<Item = &[u8]> {
    lines(&facts.info.details).filter(|line| watched::number(line, b"mask").is_some())
}

fn lines(details: &[FdDetail]) -> impl Iterator<Item = &[u8]> {
    details.iter().filter_map(|detail| match detail {
        FdDetail::Fanotify(line) => Some(line.as_slice()),
        _ => None,
    })
}

fn make(record: &Record) -> Answer<OwnedFd> {
    let _acting = Acting::begin(&Identity::from(&record.owner))?.powerless()?;
    fanotify::make(record.flags, record.event_flags)
}

/// Whether an ordinary user may make such a group: one that tells of files by their handles, and nothing of who opens them.
fn is_anybodys(flags: u32) -> bool {
    const BY_HANDLES: u32 = 0x600; // FAN_REPORT_FID, FAN_REPORT_DIR_FID
    const ALLOWED: u32 = 0x1e03; // these, FAN_REPORT_NAME, FAN_REPORT_TARGET_FID, and what the descriptor itself has
    flags & !ALLOWED == 0 && flags & BY_HANDLES != 0
}

/// Whether its queue can be filled: one without an end cannot, nor one that tells of nothing but the directory, where all events are one.
fn can_be_told(flags: u32) -> bool {
    const HOW: u32 = 0xe00; // FAN_REPORT_FID, FAN_REPORT_DIR_FID, FAN_REPORT_NAME
    const DIRECTORY: u32 = 0x400;
    flags & libc::FAN_UNLIMITED_QUEUE == 0 && flags & HOW != DIRECTORY
}

/// Whether a mark there would be taken: whoever has the group must be able to read it.
fn may_watch(record: &Record, path: &Path) -> Answer<()> {
    let _acting = Acting::begin(&Identity::from(&record.owner))?;
    files::may_access(path, libc::R_OK)
}

/// Puts the word into the queue that events were missed.
fn tell(record: &Record, file: &OpenFile, made: &OwnedFd) -> Answer<()> {
    if !can_be_told(record.flags) {
        return Ok(());
    }
    let _acting = Acting::begin(&Identity::from(&record.owner))?.powerless()?;
    files::set_status(made, file.flags | libc::O_NONBLOCK)?;
    missed::tell(made)?;
    files::set_status(made, file.flags)
}

/// Adds the marks.
fn watch(record: &Record, made: &OwnedFd) -> Answer<()> {
    let _acting = Acting::begin(&Identity::from(&record.owner))?.powerless()?;
    // The kernel tells of the last one first.
    for mark in record.marks.iter().rev() {
        let reach = match mark.extent {
            Extent::Inode => 0,
            Extent::Mount => libc::FAN_MARK_MOUNT,
            Extent::Filesystem => libc::FAN_MARK_FILESYSTEM,
        };
        let add = libc::FAN_MARK_ADD | libc::FAN_MARK_DONT_FOLLOW | reach | mark.flags & libc::FAN_MARK_EVICTABLE;
        let ignores = match mark.flags & (libc::FAN_MARK_IGNORE | SURVIVES) {
            anew if anew & libc::FAN_MARK_IGNORE != 0 => anew,
            old => old | libc::FAN_MARK_IGNORED_MASK,
        };
        for (flags, mask) in [(add, mark.mask), (add | ignores, mark.ignored)] {
            let added = if mask == 0 { Ok(()) } else { fanotify::mark(made, flags, mask, &path_of(&mark.path)) };
            match added {
                // What is missing has been told of before anything was made.
                Ok(()) | Err(Errno::ENOENT | Errno::EACCES | Errno::ENOTDIR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}
