//! Files that were opened by a name which has been removed, and have another name: link(2). Opened again by the one that
//! is left, they stay the same file for everybody.

// zoo: linked_names

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use dormouse_wire::{Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::regular::{check, named, opened};
use super::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, path_of};
use crate::kernel::passing::Passing;
use crate::kernel::{Answer, files};
use crate::proc;
use crate::resource::moves::Moving;
use crate::resource::named_file::{NamedFile, other_name};
use crate::resource::owners::Walk;

/// The kind.
#[derive(Debug)]
pub struct Linked;

/// A file by the name that is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    file: NamedFile,
    /// The name it was opened by.
    removed: ByteBuf,
}

impl FileKind for Linked {
    type Record = Record;

    fn name(&self) -> &'static str {
        "linked"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        facts.file_type() == libc::S_IFREG && facts.stat.st_nlink > 0 && facts.is_removed()
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        let Some(path) = name(facts, files) else { return vec![unfound(facts)] };
        let record = NamedFile::of(path.as_os_str().as_bytes(), &facts.stat, false, &facts.owner);
        let denied = record.may_open(facts.access()).filter(|_| !facts.is_path_only());
        denied.map(|problem| problem.of(&facts.process)).into_iter().collect()
    }

    fn capture(&self, facts: &FileFacts, capture: &mut Capture<'_>) -> Result<Record, Problem> {
        let path = name(facts, capture.files).ok_or_else(|| unfound(facts))?;
        let removed = ByteBuf::from(proc::strip_deleted(&facts.link).0);
        Ok(Record { file: named(facts, path.as_os_str().as_bytes(), capture.contents), removed })
    }

    fn moved(&self, record: &mut Record, moving: &mut Moving<'_>) {
        record.file.moved(moving);
        moving.path(&mut record.removed);
    }

    fn led(&self, record: &mut Record, walk: &mut Walk<'_>) {
        record.file.owner.led(walk);
    }

    fn preflight(&self, record: &Record, file: &OpenFile) -> Vec<Problem> {
        check(&record.file, file)
    }

    fn restore(
        &self,
        record: &Record,
        _id: FileId,
        file: &OpenFile,
        _restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        let (path, removed) = (record.file.path(), path_of(&record.removed));
        opened(&record.file, file, || open(&path, &removed, file.flags_again()))
    }
}

/// Opens a file by the name that it had, for as long as that takes, so that /proc shows it by it; else by the one it has.
fn open(path: &Path, removed: &Path, flags: i32) -> Answer<OwnedFd> {
    Passing::Link(path, flags).open(removed).or_else(|_| files::open(path, flags))
}

/// The name that is left: one that the group uses, or one in the folder of the removed one.
fn name(facts: &FileFacts, files: &FilesFacts) -> Option<PathBuf> {
    let used = files.of_inode(&facts.stat).find(|file| !file.is_removed());
    let used = used.map(|file| path_of(&ByteBuf::from(file.link.clone())));
    let removed = path_of(&ByteBuf::from(proc::strip_deleted(&facts.link).0));
    used.filter(|path| facts.is_at(path)).or_else(|| other_name(&removed, &facts.stat))
}

fn unfound(facts: &FileFacts) -> Problem {
    let what = phrase!("its name was removed, and the other name that it has cannot be found");
    facts
        .problem(ProblemKind::File, what)
        .way_out(phrase!("Link it to its folder again (ln), or close it in the program"))
}
