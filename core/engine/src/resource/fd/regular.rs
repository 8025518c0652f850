//! Files and directories that have a name: opened again by it, with the rights of their owner, open(2).

// zoo: regular_file ia32

use std::os::fd::OwnedFd;
use std::path::Path;

use dormouse_wire::{Problem, ProblemKind, Severity, phrase};

use super::{Capture, Contents, FileFacts, FileId, FileKind, FilesFacts, O_LARGEFILE, OpenFile, Restore, leases};
use crate::kernel::identity::{Acting, Identity};
use crate::kernel::{Answer, Errno, files, ia32};
use crate::resource::content;
use crate::resource::moves::Moving;
use crate::resource::named_file::NamedFile;
use crate::resource::owners::Walk;

/// The kind.
#[derive(Debug)]
pub struct Regular;

/// Its name in the image.
pub const KIND: &str = "regular";

impl FileKind for Regular {
    type Record = NamedFile;

    fn name(&self) -> &'static str {
        KIND
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        let has_name = facts.link.starts_with(b"/") && !facts.is_removed();
        has_name && (facts.is_path_only() || matches!(facts.file_type(), libc::S_IFREG | libc::S_IFDIR))
    }

    fn judge(&self, facts: &FileFacts, _files: &FilesFacts) -> Vec<Problem> {
        super::named::judge(facts)
    }

    fn capture(&self, facts: &FileFacts, capture: &mut Capture<'_>) -> Result<NamedFile, Problem> {
        Ok(named(facts, &facts.link, capture.contents))
    }

    fn moved(&self, record: &mut NamedFile, moving: &mut Moving<'_>) {
        record.moved(moving);
    }

    fn named_file<'a>(&self, record: &'a mut NamedFile) -> Option<&'a mut NamedFile> {
        Some(record)
    }

    fn led(&self, record: &mut NamedFile, walk: &mut Walk<'_>) {
        record.owner.led(walk);
    }

    fn preflight(&self, record: &NamedFile, file: &OpenFile) -> Vec<Problem> {
        check(record, file)
    }

    fn restore(
        &self,
        record: &NamedFile,
        _id: FileId,
        file: &OpenFile,
        _restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        opened(record, file, || file.open_again(&record.path()))
    }
}

/// The file opened with its owner's rights, and at its position.
pub fn opened(record: &NamedFile, file: &OpenFile, open: impl FnOnce() -> Answer<OwnedFd>) -> Result<OwnedFd, Problem> {
    let opened = || {
        let _acting = Acting::begin(&Identity::from(&record.owner))?;
        let opened = open()?;
        place(&opened, file)?;
        Ok(opened)
    };
    opened().map_err(|errno: Errno| {
        let what = phrase!("the file cannot be opened: {why}", why = errno.desc());
        Problem::blocks(ProblemKind::File, what).at(record.shown())
    })
}

impl OpenFile {
    /// Opens it again; where a 32-bit program had opened it, as such a program does, unless it has become too large for that.
    pub fn open_again(&self, path: &Path) -> Answer<OwnedFd> {
        let flags = self.flags_again();
        let open = || files::open(path, flags);
        if flags & (libc::O_PATH | O_LARGEFILE) != 0 {
            return open();
        }
        match ia32::open(path, flags) {
            Err(Errno::EOVERFLOW | Errno::ENOSYS) => open(),
            answer => answer,
        }
    }

    /// The flags to open it with again: without those that were for its first opening alone.
    pub fn flags_again(&self) -> i32 {
        self.flags & !(libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC)
    }
}

/// The record of an open file that has this name.
pub fn named(facts: &FileFacts, path: &[u8], contents: &mut Contents) -> NamedFile {
    let writable = facts.access() != libc::O_RDONLY;
    let mut record = NamedFile::of(path, &facts.stat, writable, &facts.owner);
    record.appends = facts.info.flags as i32 & libc::O_APPEND != 0;
    if facts.is_path_only() || files::filesystem(&facts.file).is_ok_and(|magic| MADE_UP.contains(&magic)) {
        record.modified = None;
    } else if facts.file_type() == libc::S_IFREG {
        record.ends = contents.ends(&facts.stat, || {
            if leases::is_leased(facts) {
                // It must not be opened. What is read so moves nothing.
                return facts.file.try_clone();
            }
            // A server of files may forbid what the kernel allows: then growth cannot be told from another change.
            content::reopen(&facts.file, libc::O_RDONLY).map(Into::into)
        });
    }
    record
}

/// Filesystems whose files are made up when they are read: proc, sysfs, cgroup, cgroup2, debugfs, tracefs, securityfs.
const MADE_UP: [i64; 7] = [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270, 0x6462_6720, 0x7472_6163, 0x7363_6673];

/// What is in the way of opening it again: what has become of it, of its owner's rights, of its locks.
pub fn check(record: &NamedFile, file: &OpenFile) -> Vec<Problem> {
    let mut problems = record.check(false);
    // One that has only grown is opened all the same.
    if problems.iter().all(|problem| problem.severity != Severity::Blocks) && file.flags & libc::O_PATH == 0 {
        problems.extend(record.may_open(file.flags));
    }
    problems.extend(super::locks::preflight(file, &record.path()));
    problems
}

/// Gives an opened file its position.
fn place(opened: &OwnedFd, file: &OpenFile) -> Answer<()> {
    if file.flags & libc::O_PATH == 0 && file.position != 0 {
        files::set_position(opened, file.position)
    } else {
        Ok(())
    }
}
