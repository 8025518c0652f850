//! Copies of what the group has mapped of programs and libraries, so that a package that is upgraded meanwhile does not matter.
//!
//! Most of it is copied before anybody is stopped: what is mapped is known by name then. What comes to light later is copied beside
//! the writing of the memory.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use dormouse_wire::{Phase, Pid, Problem, ProblemKind, Progress, phrase};
use serde_bytes::ByteBuf;

use crate::image::kept::{ContentHash, Contents, Keeping, is_program};
use crate::kernel::identity::{Acting, Identity};
use crate::kernel::{files, outside, procfs};
use crate::proc::maps::{self, MappingName};
use crate::resource::content;
use crate::resource::fd::{self, FilesFacts, OpenFile, leases};
use crate::resource::likeness::Likeness;
use crate::resource::named_file::{self, NamedFile};
use crate::survey::select;
use crate::{Asker, FreezeError, FreezeOptions, Selection};

/// What is kept for an image, if anything is.
pub struct Keeper<'a> {
    keeping: Option<Keeping>,
    asker: Option<&'a Asker>,
    /// Files that are open, and whatever is mapped, too.
    working: bool,
    progress: &'a dyn Progress,
    /// Why nothing can be kept.
    failed: Option<io::Error>,
}

impl<'a> Keeper<'a> {
    /// As the options say.
    pub fn begin(options: &FreezeOptions, asker: Option<&'a Asker>, progress: &'a dyn Progress) -> Self {
        let begun = options.kept.as_ref().map(|kept| at_the_store(asker, || kept.begin()));
        let (keeping, failed) = match begun.transpose() {
            Ok(keeping) => (keeping, None),
            Err(error) => (None, Some(error)),
        };
        Self { keeping, asker, working: options.keep_files, progress, failed }
    }

    /// Keeps what the selected processes have mapped now, while they run. Whoever ends meanwhile, or whatever cannot be seen yet, comes
    /// later.
    pub fn ahead(&self, selection: &Selection) -> Result<(), FreezeError> {
        let Some(keeping) = &self.keeping else { return Ok(()) };
        let members = select::members(&selection.seeds(), &selection.born).unwrap_or_default();
        let missing: Vec<(PathBuf, File, libc::stat)> = mapped(&members)
            .into_iter()
            .filter_map(|((path, inode), pid)| {
                let within = procfs::path(format!("{pid}/root")).join(path.strip_prefix("/").ok()?);
                let (file, stat) = {
                    let _acting = self.asker.map(Asker::acting).transpose().ok()?;
                    [&path, &within].into_iter().find_map(|place| ordinary(place, inode))?
                };
                let is_there = at_the_store(self.asker, || Ok(keeping.has(&stat).is_some()));
                (!is_there.ok()? && is_program(&path, &file)).then_some((path, file, stat))
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.progress.begins(Phase::Keeping, missing.iter().map(|(.., stat)| stat.st_size as u64).sum());
        let wanted = |bytes: u64| {
            self.progress.moved(bytes);
            !self.progress.cancelled()
        };
        for (path, file, stat) in &missing {
            let path = path.as_os_str().as_bytes();
            let _ = at_the_store(self.asker, || Ok(keeping.keep(file, (stat, &|_| true), path, &wanted)));
            super::cancelled(self.progress)?;
        }
        keeping.begin_sync();
        Ok(())
    }

    /// Keeps a file that is mapped, if it is one to be kept; it has been opened with the rights of whoever has it mapped.
    pub fn keep(&self, record: &mut NamedFile, file: &File) {
        // Among mounts within the group, nothing but a program is put in the place of another file.
        if is_to_be_kept(record, file) || self.working && !record.is_deep() {
            self.keep_anything(record, file);
        }
    }

    /// Whether a mapped file, which is reached so, is one that will be kept.
    pub fn will_keep(&self, record: &NamedFile, through: &str) -> bool {
        self.keeping.is_some() && File::open(through).is_ok_and(|file| is_to_be_kept(record, &file))
    }

    /// Keeps the files that are open, where that was asked for: those that whoever has them open may read.
    pub fn keep_open(&self, records: &mut [OpenFile], open: &FilesFacts) {
        if !self.working || self.keeping.is_none() {
            return;
        }
        for (record, facts) in records.iter_mut().zip(&open.files).filter(|(record, _)| record.mounts.is_none()) {
            let Ok(kind) = fd::kind_named(record) else { continue };
            kind.with_named_file(record, &mut |named| {
                if named.modified.is_none() || facts.file_type() != libc::S_IFREG || leases::is_leased(facts) {
                    return;
                }
                let acting = Acting::begin(&Identity::from(&named.owner));
                let opened = acting.map_err(io::Error::from);
                let opened = opened.and_then(|_acting| content::reopen(&facts.file, libc::O_RDONLY));
                if let Ok(file) = opened
                    && !named.is_deep()
                {
                    self.keep_anything(named, &file.into());
                }
            });
        }
    }

    fn keep_anything(&self, record: &mut NamedFile, file: &File) {
        record.kept = self.kept(&record.path, file, record.likeness.as_ref());
    }

    fn kept(&self, path: &[u8], file: &File, likeness: Option<&Likeness>) -> Option<ContentHash> {
        let keeping = self.keeping.as_ref()?;
        let stat = files::stat(file).ok()?;
        let is_like = |kept: &File| {
            let found = || Likeness::of(kept, stat.st_size as u64, &mut u64::MAX.clone());
            likeness.is_none_or(|likeness| found().is_some_and(|found| likeness.is_like(&found)))
        };
        let keep = || Ok(keeping.keep(file, (&stat, &is_like), path, &|_| !self.progress.cancelled()));
        at_the_store(self.asker, keep).ok()?
    }

    /// Writes down that the image needs what was kept; before it is there.
    pub fn refer(&mut self, id: &str, image: &Path) {
        let Some(keeping) = &self.keeping else { return };
        if let Err(error) = at_the_store(self.asker, || keeping.refer(id, image, Contents::new())) {
            self.failed = Some(error);
        }
    }

    /// What could not be kept. That there is no room is told once, and no file's own matter.
    pub fn told(&self) -> Vec<Problem> {
        let failures = self.keeping.as_ref().map(Keeping::failures).unwrap_or_default();
        let (full, others): (Vec<_>, Vec<_>) =
            failures.into_iter().partition(|(_, why)| why.kind() == io::ErrorKind::StorageFull);
        let loss = phrase!("that it can be woken as it was when that has been upgraded, changed or removed meanwhile");
        let lost = |what| Problem::loses(ProblemKind::File, what, loss.clone());
        let of_all = |why: &io::Error| lost(phrase!("no copies of what it uses could be kept: {why}", why));
        let of_one = |(path, why): &(ByteBuf, io::Error)| {
            let path = named_file::shown(Path::new(OsStr::from_bytes(path)));
            lost(phrase!("no copy of it could be kept: {why}", why)).at(path)
        };
        let of_store = self.failed.iter().chain(full.first().map(|(_, why)| why)).map(of_all);
        of_store.chain(others.iter().map(of_one)).collect()
    }
}

/// Does something with the store, which is outside of any sandbox, with the rights of whoever asks.
fn at_the_store<T>(asker: Option<&Asker>, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    outside::standing(|| {
        let _acting = asker.map(Asker::acting).transpose().map_err(|problem| io::Error::other(problem.to_string()))?;
        work()
    })?
}

/// What the group writes to is a file of its own, and none of a package's.
fn is_to_be_kept(record: &NamedFile, file: &File) -> bool {
    !record.writable && is_program(&record.path(), file)
}

/// The ordinary file at a path, unless it is another one already.
fn ordinary(path: &Path, inode: u64) -> Option<(File, libc::stat)> {
    let file = File::from(files::open(path, libc::O_RDONLY | libc::O_NONBLOCK).ok()?);
    let stat = files::stat(&file).ok()?;
    (stat.st_mode & libc::S_IFMT == libc::S_IFREG && stat.st_ino == inode).then_some((file, stat))
}

/// The paths and inodes of all files that somebody of these has mapped, and who has: among his mounts a path may lead elsewhere. Programs
/// that are the same have the same libraries: it is enough to look at one of them, for a beginning.
fn mapped(members: &[Pid]) -> HashMap<(PathBuf, u64), Pid> {
    let (mut programs, mut paths) = (HashSet::new(), HashMap::new());
    for pid in members {
        let Ok(program) = crate::proc::link(*pid, "exe") else { continue };
        if !programs.insert(program) {
            continue;
        }
        let mappings = crate::proc::parsed(*pid, "maps", maps::parse_maps).unwrap_or_default();
        paths.extend(mappings.into_iter().filter(|mapping| !mapping.shared || !mapping.write).filter_map(|mapping| {
            match mapping.name {
                MappingName::File(path) => Some(((PathBuf::from(OsString::from_vec(path)), mapping.inode), *pid)),
                _ => None,
            }
        }));
    }
    paths
}
