//! Kinds of files with their types erased, for the table of them.

// zoo: no kind

use std::os::fd::OwnedFd;

use dormouse_wire::{Problem, ProblemKind, phrase};
use serde::de::DeserializeOwned;

use super::{Capture, FileFacts, FileId, FileKind, FilesFacts, Finish, OpenFile, Put, Restore};
use crate::resource::moves::Moving;
use crate::resource::named_file::NamedFile;
use crate::resource::owners::Walk;

/// A kind with its type erased.
pub trait AnyFileKind: Sync {
    /// See [`FileKind::name`].
    fn name(&self) -> &'static str;
    /// See [`FileKind::claims`].
    fn claims(&self, facts: &FileFacts) -> bool;
    /// See [`FileKind::judge`].
    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem>;
    /// See [`FileKind::capture`].
    fn capture(&self, facts: &FileFacts, capture: &mut Capture<'_>) -> Result<ciborium::Value, Problem>;
    /// See [`FileKind::moved`]. A record that cannot be read stays as it is: the preflight tells of it.
    fn moved(&self, file: &mut OpenFile, moving: &mut Moving<'_>);
    /// See [`FileKind::led`]. A record that cannot be read stays as it is: the preflight tells of it.
    fn led(&self, file: &mut OpenFile, walk: &mut Walk<'_>);
    /// Does something with what [`FileKind::named_file`] answers, if that is something.
    fn with_named_file(&self, file: &mut OpenFile, work: &mut dyn FnMut(&mut NamedFile));
    /// See [`FileKind::preflight`].
    fn preflight(&self, file: &OpenFile) -> Vec<Problem>;
    /// See [`FileKind::is_late`].
    fn is_late(&self) -> bool;
    /// See [`FileKind::makes_several`].
    fn makes_several(&self) -> bool;
    /// See [`FileKind::needs`].
    fn needs(&self, file: &OpenFile) -> Result<Vec<FileId>, Problem>;
    /// See [`FileKind::restore`].
    fn restore(&self, id: FileId, file: &OpenFile, restore: &mut Restore<'_>) -> Result<OwnedFd, Problem>;
    /// See [`FileKind::complete`].
    fn complete(&self, restore: &mut Restore<'_>) -> Result<(), Problem>;
    /// See [`FileKind::put`].
    fn put(&self, file: &OpenFile, made: &OwnedFd) -> Option<Put>;
    /// See [`FileKind::finish`].
    fn finish(&self, file: &OpenFile, finish: &mut Finish<'_>) -> Result<(), Problem>;
    /// See [`FileKind::starts_ready`].
    fn starts_ready(&self, file: &OpenFile) -> Result<bool, Problem>;
    /// See [`FileKind::start`].
    fn start(&self, file: &OpenFile, made: &OwnedFd) -> Result<(), Problem>;
}

/// The record of a file, by the type of its kind.
pub fn typed<T: DeserializeOwned>(file: &OpenFile) -> Result<T, Problem> {
    file.record.deserialized().map_err(|error| {
        Problem::blocks(
            ProblemKind::Image,
            phrase!("the record of a file of kind \"{kind}\" cannot be read: {why}", kind = file.kind, why = error),
        )
    })
}

impl<K: FileKind> AnyFileKind for K {
    fn name(&self) -> &'static str {
        FileKind::name(self)
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        FileKind::claims(self, facts)
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        FileKind::judge(self, facts, files)
    }

    fn capture(&self, facts: &FileFacts, capture: &mut Capture<'_>) -> Result<ciborium::Value, Problem> {
        let record = FileKind::capture(self, facts, capture)?;
        ciborium::Value::serialized(&record)
            .map_err(|error| facts.problem(ProblemKind::Image, phrase!("it cannot be recorded: {why}", why = error)))
    }

    fn moved(&self, file: &mut OpenFile, moving: &mut Moving<'_>) {
        let Ok(mut record) = typed(file) else { return };
        FileKind::moved(self, &mut record, moving);
        file.record = ciborium::Value::serialized(&record).unwrap_or(ciborium::Value::Null);
    }

    fn led(&self, file: &mut OpenFile, walk: &mut Walk<'_>) {
        let Ok(mut record) = typed(file) else { return };
        FileKind::led(self, &mut record, walk);
        if !walk.only_notes() {
            file.record = ciborium::Value::serialized(&record).unwrap_or(ciborium::Value::Null);
        }
    }

    fn with_named_file(&self, file: &mut OpenFile, work: &mut dyn FnMut(&mut NamedFile)) {
        let Ok(mut record) = typed(file) else { return };
        let Some(named) = FileKind::named_file(self, &mut record) else { return };
        let before = named.clone();
        work(named);
        if *named != before {
            file.record = ciborium::Value::serialized(&record).unwrap_or(ciborium::Value::Null);
        }
    }

    fn preflight(&self, file: &OpenFile) -> Vec<Problem> {
        match typed(file) {
            Ok(record) => FileKind::preflight(self, &record, file),
            Err(problem) => vec![problem],
        }
    }

    fn is_late(&self) -> bool {
        FileKind::is_late(self)
    }

    fn makes_several(&self) -> bool {
        FileKind::makes_several(self)
    }

    fn needs(&self, file: &OpenFile) -> Result<Vec<FileId>, Problem> {
        Ok(FileKind::needs(self, &typed(file)?))
    }

    fn restore(&self, id: FileId, file: &OpenFile, restore: &mut Restore<'_>) -> Result<OwnedFd, Problem> {
        FileKind::restore(self, &typed(file)?, id, file, restore)
    }

    fn complete(&self, restore: &mut Restore<'_>) -> Result<(), Problem> {
        FileKind::complete(self, restore)
    }

    fn put(&self, file: &OpenFile, made: &OwnedFd) -> Option<Put> {
        FileKind::put(self, &typed(file).ok()?, made)
    }

    fn finish(&self, file: &OpenFile, finish: &mut Finish<'_>) -> Result<(), Problem> {
        FileKind::finish(self, &typed(file)?, finish);
        Ok(())
    }

    fn starts_ready(&self, file: &OpenFile) -> Result<bool, Problem> {
        Ok(FileKind::starts_ready(self, &typed(file)?))
    }

    fn start(&self, file: &OpenFile, made: &OwnedFd) -> Result<(), Problem> {
        FileKind::start(self, &typed(file)?, file, made)
    }
}
