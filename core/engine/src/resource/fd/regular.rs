//! Files and directories that have a name: opened again by it, with the rights of their owner, open(2).

// zoo: regular_file

use std::os::fd::OwnedFd;

use dormouse_wire::{Problem, ProblemKind};
use serde_bytes::ByteBuf;

use super::{Capture, FileFacts, FileId, FileKind, OpenFile, Restore};
use crate::kernel::files;
use crate::kernel::identity::{Acting, Identity};
use crate::proc;
use crate::resource::named_file::NamedFile;

/// The kind.
#[derive(Debug)]
pub struct Regular;

impl FileKind for Regular {
    type Record = NamedFile;

    fn name(&self) -> &'static str {
        "regular"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        let has_name = !proc::strip_deleted(&facts.link).1 && facts.link.starts_with(b"/");
        let path_only = facts.info.flags as i32 & libc::O_PATH != 0;
        has_name && (path_only || matches!(facts.file_type(), libc::S_IFREG | libc::S_IFDIR))
    }

    fn capture(&self, facts: &FileFacts, _capture: &mut Capture<'_>) -> Result<NamedFile, Problem> {
        Ok(NamedFile {
            path: ByteBuf::from(facts.link.clone()),
            mode: facts.stat.st_mode,
            size: facts.stat.st_size as u64,
            modified: (facts.stat.st_mtime, facts.stat.st_mtime_nsec as u32),
            writable: facts.access() != libc::O_RDONLY,
            owner: facts.owner.clone(),
        })
    }

    fn preflight(&self, record: &NamedFile, _file: &OpenFile) -> Vec<Problem> {
        record.check(false)
    }

    fn restore(
        &self,
        record: &NamedFile,
        _id: FileId,
        file: &OpenFile,
        _restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        let problem = |error: &dyn std::fmt::Display| {
            Problem::blocks(ProblemKind::File, format!("the file cannot be opened: {error}"))
                .at(crate::resource::named_file::shown(&record.path()))
        };
        let _acting = Acting::begin(&Identity::from(&record.owner)).map_err(|error| problem(&error))?;
        let flags = file.flags & !(libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC | libc::O_NOFOLLOW);
        let opened = files::open(&record.path(), flags).map_err(|error| problem(&error))?;
        if flags & libc::O_PATH == 0 && file.position != 0 {
            files::set_position(&opened, file.position).map_err(|error| problem(&error))?;
        }
        Ok(opened)
    }
}
