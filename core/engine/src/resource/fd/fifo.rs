//! FIFOs, fifo(7): opened again by name, or made again where the name was removed; what is in them, as in a pipe.

// zoo: fifo

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use dormouse_wire::{Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::pipe::{Body, first, judge};
use super::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, own_path, path_of};
use crate::kernel::identity::{Acting, Identity};
use crate::kernel::passing::Passing;
use crate::kernel::{Answer, Errno, files};
use crate::proc;
use crate::resource::moves::Moving;
use crate::resource::named_file::{Owner, shown};
use crate::resource::owners::Walk;

/// The kind.
#[derive(Debug)]
pub struct Fifo;

/// An opening of a FIFO.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The opening that stands for the FIFO: the first one, which has its size and content.
    fifo: FileId,
    /// For that one: what is in it.
    body: Option<Body>,
    /// Its name, or its last one.
    path: ByteBuf,
    /// The name was removed.
    removed: bool,
    /// With whose rights it is opened.
    owner: Owner,
}

impl FileKind for Fifo {
    type Record = Record;

    fn name(&self) -> &'static str {
        "fifo"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        facts.file_type() == libc::S_IFIFO && facts.link.starts_with(b"/")
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        let mut problems = judge(facts, files);
        problems.extend(super::named::judge(facts));
        problems
    }

    fn capture(&self, facts: &FileFacts, capture: &mut Capture<'_>) -> Result<Record, Problem> {
        let fifo = first(facts, capture.files);
        let removed = facts.is_removed();
        let path = if removed { proc::strip_deleted(&facts.link).0 } else { &facts.link };
        Ok(Record {
            fifo,
            body: if fifo == facts.id { Some(Body::capture(facts, capture.files)?) } else { None },
            path: ByteBuf::from(path),
            removed,
            owner: facts.owner.clone(),
        })
    }

    fn moved(&self, record: &mut Record, moving: &mut Moving<'_>) {
        moving.path(&mut record.path);
    }

    fn led(&self, record: &mut Record, walk: &mut Walk<'_>) {
        record.owner.led(walk);
    }

    fn preflight(&self, record: &Record, _file: &OpenFile) -> Vec<Problem> {
        use std::os::unix::fs::FileTypeExt;
        let path = path_of(&record.path);
        let found = if record.removed { folder(&path).metadata() } else { path.symlink_metadata() };
        let what = match found {
            Err(error) => phrase!("it cannot be found: {why}", why = error),
            Ok(found) if !record.removed && !found.file_type().is_fifo() => phrase!("something else has its name now"),
            Ok(_) => return Vec::new(),
        };
        vec![
            Problem::blocks(ProblemKind::Pipe, what)
                .at(shown(&path))
                .way_out(phrase!("Make it again with mkfifo, then thaw again")),
        ]
    }

    fn needs(&self, record: &Record) -> Vec<FileId> {
        if record.body.is_some() { Vec::new() } else { vec![record.fifo] }
    }

    fn restore(
        &self,
        record: &Record,
        _id: FileId,
        file: &OpenFile,
        restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        let path = path_of(&record.path);
        let failed = |error: &dyn std::fmt::Display| {
            Problem::blocks(ProblemKind::Pipe, phrase!("a FIFO cannot be opened again: {why}", why = error))
                .at(shown(&path))
        };
        let place = match (&record.body, record.removed) {
            (Some(body), true) => make_removed(&path, &record.owner).and_then(|place| {
                // An O_PATH descriptor cannot be given away itself.
                let helper = files::open(own_path(&place).as_ref(), libc::O_RDWR | libc::O_NONBLOCK)?;
                body.own(&helper).map_err(|_| Errno::EPERM)?;
                Ok(place)
            }),
            (None, true) => match restore.made.get(&record.fifo) {
                Some(first) => first.try_clone().map_err(|_| Errno::EMFILE),
                None => Err(Errno::ENOENT),
            },
            (_, false) => at_name(&path, &record.owner),
        };
        let place = place.map_err(|error| failed(&error.desc()))?;
        // Both directions: with this one open no other opening has to wait for its counterpart.
        let helper = files::open(own_path(&place).as_ref(), libc::O_RDWR | libc::O_NONBLOCK);
        let helper = helper.map_err(|error| failed(&error.desc()))?;
        let acting = Acting::begin(&Identity::from(&record.owner)).map_err(|error| failed(&error.desc()))?;
        let opened = files::open(own_path(&place).as_ref(), file.flags & libc::O_ACCMODE | libc::O_NONBLOCK);
        drop(acting);
        let opened = opened.map_err(|error| failed(&error.desc()))?;
        if let Some(body) = &record.body {
            body.fill(&helper)?;
        }
        files::set_status(&opened, file.flags).map_err(|error| failed(&error.desc()))?;
        Ok(opened)
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// The FIFO of this name, found with its opener's rights.
fn at_name(path: &Path, owner: &Owner) -> Answer<OwnedFd> {
    let _acting = Acting::begin(&Identity::from(owner))?;
    let place = files::open(path, libc::O_PATH | libc::O_NOFOLLOW)?;
    if files::stat(&place)?.st_mode & libc::S_IFMT == libc::S_IFIFO { Ok(place) } else { Err(Errno::ENOENT) }
}

/// Makes a FIFO under its last name, or under one beside it where another has that name now, and removes it again.
fn make_removed(path: &Path, owner: &Owner) -> Answer<OwnedFd> {
    let _acting = Acting::begin(&Identity::from(owner))?;
    let mut name = PathBuf::from(path);
    let mut attempt = 0;
    loop {
        match Passing::Fifo(libc::O_PATH | libc::O_NOFOLLOW).open(&name) {
            Err(Errno::EEXIST) if attempt < 100 => attempt += 1,
            answer => return answer,
        }
        name = folder(path).join(format!(".dormouse-{}-{attempt}", std::process::id()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_fifo_is_made_beside_one_that_has_its_name() -> Result<(), Box<dyn std::error::Error>> {
        let temporary = tempfile::tempdir()?;
        let path = temporary.path().join("fifo");
        let owner = Owner {
            user: nix::unistd::geteuid().as_raw(),
            group: nix::unistd::getegid().as_raw(),
            groups: nix::unistd::getgroups()?.into_iter().map(nix::unistd::Gid::as_raw).collect(),
        };
        for taken in [false, true] {
            if taken {
                std::fs::write(&path, "")?;
            }
            let place = make_removed(&path, &owner)?;
            let stat = files::stat(&place)?;
            assert_eq!((stat.st_mode & libc::S_IFMT, stat.st_nlink), (libc::S_IFIFO, 0));
        }
        assert_eq!(std::fs::read_dir(temporary.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn only_a_fifo_is_opened_as_one() -> Result<(), Box<dyn std::error::Error>> {
        let file = tempfile::NamedTempFile::new()?;
        let owner =
            Owner { user: nix::unistd::geteuid().as_raw(), group: nix::unistd::getegid().as_raw(), groups: Vec::new() };
        assert!(at_name(file.path(), &owner).is_err());
        Ok(())
    }
}
