//! Files without a name, whose content is in the image: memfd_create(2) and files removed while open.

// zoo: memfd

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use serde_bytes::ByteBuf;

use super::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, typed};
use crate::image::{PageBuffer, PageSink};
use crate::kernel::Errno;
use crate::kernel::files;
use crate::proc;
use crate::resource::content::{self, Content, Origin};
use crate::resource::named_file;

/// The kind.
#[derive(Debug)]
pub struct ContentFile;

/// Contents already captured, by device and inode.
#[derive(Debug, Default)]
pub struct Contents {
    /// The records.
    pub records: Vec<Content>,
    known: HashMap<(u64, u64), usize>,
    /// [`ends`](named_file::ends) of files with a name, which may be open many times: by device, inode and size.
    ends: HashMap<(u64, u64, u64), Option<u64>>,
}

impl Contents {
    /// The ends of a file with a name, as far as they can be read, through what `readable` answers; nothing writes to it meanwhile that
    /// stands still.
    pub fn ends(&mut self, stat: &libc::stat, readable: impl FnOnce() -> std::io::Result<File>) -> Option<u64> {
        let size = stat.st_size as u64;
        let read = || readable().and_then(|readable| named_file::ends(&readable, size)).ok();
        *self.ends.entry((stat.st_dev, stat.st_ino, size)).or_insert_with(read)
    }

    /// The index of a file's content; it is captured when it is first asked for.
    pub fn index(
        &mut self,
        file: &File,
        stat: &libc::stat,
        (origin, mounts): (Origin, Option<usize>),
        sink: &PageSink,
        buffer: &mut PageBuffer,
    ) -> Result<usize, Problem> {
        if let Some(known) = self.known.get(&(stat.st_dev, stat.st_ino)) {
            return Ok(*known);
        }
        let mounts = mounts.filter(|_| matches!(origin, Origin::Deleted { .. }));
        let content = content::capture(file, origin, sink, buffer)?;
        self.records.push(Content { mounts, ..content });
        self.known.insert((stat.st_dev, stat.st_ino), self.records.len() - 1);
        Ok(self.records.len() - 1)
    }
}

/// Where a file without a name comes from, if it is one.
pub fn origin_of(link: &[u8], owner: &named_file::Owner, seals: u32) -> Option<Origin> {
    let (path, deleted) = proc::strip_deleted(link);
    if !deleted {
        return None;
    }
    if let Some(name) = path.strip_prefix(b"/memfd:") {
        return Some(Origin::Memfd { name: ByteBuf::from(name), seals });
    }
    if path == b"/dev/zero" || path == b"/anon_hugepage" {
        return Some(Origin::SharedAnonymous);
    }
    Some(Origin::Deleted { path: ByteBuf::from(path), maker: owner.clone() })
}

fn is_nameless(flags: i32) -> bool {
    flags & libc::O_TMPFILE == libc::O_TMPFILE
}

/// The index of the content whose file an open file was made with, O_TMPFILE: no other opening has that flag.
pub fn nameless(file: &OpenFile) -> Option<usize> {
    let made_with = file.kind == FileKind::name(&ContentFile)
        && is_nameless(file.flags)
        && file.flags & libc::O_ACCMODE == libc::O_RDWR;
    if made_with { typed(file).ok() } else { None }
}

impl FileKind for ContentFile {
    type Record = usize;

    fn name(&self) -> &'static str {
        "content"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        facts.file_type() == libc::S_IFREG && facts.is_removed()
    }

    fn judge(&self, facts: &FileFacts, all: &FilesFacts) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(holder) = all.held_outside(&facts.stat).first() {
            let what = phrase!(
                "{process} has this file without a name too and is not part of the group",
                process = holder.process
            );
            problems.push(
                facts
                    .problem(ProblemKind::DeletedFile, what)
                    .way_out(phrase!("Freeze them together, or pause the group instead")),
            );
        }
        if is_nameless(facts.info.flags as i32) && facts.access() == libc::O_WRONLY {
            let what = phrase!("it was made without a name, for writing only, and comes back opened like any other");
            problems.push(facts.loss(ProblemKind::DeletedFile, what, phrase!("its flag O_TMPFILE")));
        }
        problems
    }

    fn capture(&self, facts: &FileFacts, capture: &mut Capture<'_>) -> Result<usize, Problem> {
        let origin = origin_of(&facts.link, &facts.owner, content::seals(&facts.file))
            .ok_or_else(|| facts.problem(ProblemKind::DeletedFile, phrase!("its name cannot be told")))?;
        // Our duplicate may be opened for writing only: read through one of our own.
        let readable = content::reopen(&facts.file, libc::O_RDONLY).map_err(|error| {
            facts.problem(ProblemKind::DeletedFile, phrase!("it cannot be read: {why}", why = error))
        })?;
        let mounts = facts.mounts.as_ref().map(|mounts| mounts.index);
        capture.contents.index(&readable.into(), &facts.stat, (origin, mounts), capture.sink, capture.buffer)
    }

    fn restore(
        &self,
        record: &usize,
        _id: FileId,
        file: &OpenFile,
        restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        let content = restore.contents.get(*record).ok_or_else(|| {
            Problem::blocks(ProblemKind::Image, phrase!("a file refers to content that is not there"))
        })?;
        let failed = |error: &dyn std::fmt::Display| {
            Problem::blocks(
                ProblemKind::DeletedFile,
                phrase!("a file without a name cannot be opened: {why}", why = error),
            )
        };
        let opened = if nameless(file) == Some(*record) {
            // The description that the file was made with is this one.
            content.try_clone().map(OwnedFd::from)
        } else {
            let once =
                libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC | libc::O_TMPFILE & !libc::O_DIRECTORY | libc::O_NOFOLLOW;
            content::reopen(content, file.flags & !once & !libc::O_DIRECTORY)
        };
        let opened = opened.map_err(|error| failed(&error))?;
        if nameless(file).is_some() {
            files::set_status(&opened, file.flags).map_err(|error| failed(&error))?;
        }
        if file.position != 0 {
            files::set_position(&opened, file.position).map_err(|error| failed(&error))?;
        }
        Ok(opened)
    }
}

/// The problem of a file of no filesystem that the kernel does not make; `what` it is, with its article.
pub fn not_made(what: Phrase, errno: Errno) -> Problem {
    Problem::blocks(ProblemKind::AnonymousFile, phrase!("{what} cannot be made again: {why}", what, why = errno.desc()))
}
