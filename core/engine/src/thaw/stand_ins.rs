//! Copies that take the place of files that have changed, or are gone, since the freeze: of programs and libraries always where one was
//! kept, of working files where that is wished.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use dormouse_wire::{Phrase, Problem, ProblemKind, Remedy, Severity, phrase};
use serde_bytes::ByteBuf;

use super::inner::InnerMade;
use super::trust;
use crate::image::kept::{ContentHash, Contents, KeptFiles};
use crate::image::{Reader, SectionKind};
use crate::kernel::identity::{Acting, Identity};
use crate::kernel::{files, outside};
use crate::resource::fd::kind_named;
use crate::resource::group::{Group, Process};
use crate::resource::named_file::{NamedFile, StandIn, shown};
use crate::resource::origin::Origin;
use crate::{ChangedFiles, ThawOptions};

/// Whether copies of working files are only looked for, or put where the group finds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// For a preflight.
    Look,
    /// For a thaw.
    Make,
}

/// Chooses copies for what has changed and is to be replaced; answers what is told of it. What remains is for the preflight to find.
pub fn choose(group: &mut Group, reader: &Reader, options: &ThawOptions, how: How) -> Vec<Problem> {
    // Nothing is made, and nothing told of files, for an image that says what its owner could not have written.
    let touches = !matches!(options.changed, ChangedFiles::Stop);
    if touches && !trust::problems(group, reader, options.asker.as_ref()).is_empty() {
        return Vec::new();
    }
    let wish = Wish::of(reader, options, how);
    brought(group, &wish.id, &wish.shelves);
    let mut told = Vec::new();
    let (run, opened) = (run(group), opened(group));
    for (index, file) in group.mapped_files.iter_mut().enumerate().filter(|(_, file)| file.mounts.is_none()) {
        // What its owner may not look at has perhaps not changed at all.
        if !stops(&file.check(true)) || !file.may_be_looked_at() {
            continue;
        }
        file.stand_in = wish.stand_in(file);
        // A program that does not fit the rest of itself only crashes. Within a sandbox there is no place for what it works with.
        if file.stand_in.is_none()
            && !file.is_deep()
            && !run.contains(&index)
            && file.likeness.as_ref().is_none_or(|like| !like.is_program())
        {
            file.kept = file.kept.or_else(|| opened.get(&file.path).copied());
            told.extend(wish.settle(file, true));
        }
    }
    for file in group.open_files.iter_mut().filter(|file| file.mounts.is_none()) {
        // A kind that is not known is told by the preflight.
        if let Ok(kind) = kind_named(file) {
            kind.with_named_file(file, &mut |named| {
                told.extend(wish.settle(named, false));
            });
        }
    }
    told.sort();
    told.dedup();
    told
}

/// Chooses copies of programs and libraries that lie among mounts within the group, now that those have been made. The copies are opened
/// from outside of them.
pub fn choose_within(
    group: &mut Group,
    inner: &InnerMade,
    reader: &Reader,
    options: &ThawOptions,
) -> Result<(), Problem> {
    let is_kept = |file: &NamedFile| file.mounts.is_some() && file.kept.is_some();
    if !group.mapped_files.iter().any(is_kept) {
        return Ok(());
    }
    let wish = Wish::of(reader, options, How::Make);
    for file in group.mapped_files.iter_mut().filter(|file| is_kept(file)) {
        if inner.among(file.mounts, || stops(&file.check(true)) && file.may_be_looked_at())? {
            file.stand_in = wish.stand_in(file);
        }
    }
    Ok(())
}

/// Says of files that stand in the way what could be wished of them.
pub fn say_remedies(problems: &mut [Problem], group: &mut Group, reader: &Reader, options: &ThawOptions) {
    let is_one = |problem: &Problem| problem.kind == ProblemKind::File && problem.severity == Severity::Blocks;
    if !problems.iter().any(is_one) {
        return;
    }
    let wish = Wish::of(reader, options, How::Look);
    let (run, opened) = (run(group), opened(group));
    let mut remedies: HashMap<String, Vec<Remedy>> = HashMap::new();
    for (index, file) in group.mapped_files.iter_mut().enumerate().filter(|(_, file)| !file.is_deep()) {
        file.kept = file.kept.or_else(|| opened.get(&file.path).copied());
        if !run.contains(&index) && file.likeness.as_ref().is_none_or(|like| !like.is_program()) {
            remedies.extend(wish.remedies(file, true));
        }
    }
    for file in group.open_files.iter_mut().filter(|file| file.mounts.is_none()) {
        if let Ok(kind) = kind_named(file) {
            kind.with_named_file(file, &mut |named| remedies.extend(wish.remedies(named, false)));
        }
    }
    for problem in problems.iter_mut().filter(|problem| is_one(problem)) {
        let found = problem.resource.as_ref().and_then(|name| remedies.get(&name.to_string()));
        problem.remedies.extend(found.into_iter().flatten());
    }
}

/// What came along with the image in a bundle is noted as a copy of the files that it was, where the image names none itself.
fn brought(group: &mut Group, id: &str, shelves: &[StandIn]) {
    let mut contents = Contents::new();
    for shelf in shelves {
        contents.extend(at(shelf, || Ok(shelf.kept.contents(id))).unwrap_or_default());
    }
    if contents.is_empty() {
        return;
    }
    let note = |file: &mut NamedFile| file.kept = file.kept.or_else(|| contents.get(&file.path).copied());
    // Among mounts within the group a path may lead to another file.
    group.mapped_files.iter_mut().filter(|file| file.mounts.is_none()).for_each(note);
    for file in group.open_files.iter_mut().filter(|file| file.mounts.is_none()) {
        if let Ok(kind) = kind_named(file) {
            kind.with_named_file(file, &mut |named| note(named));
        }
    }
}

/// Copies of files that were open, by their paths: where one was mapped, too, as databases have it, both are the same file.
fn opened(group: &mut Group) -> Contents {
    let mut opened = Contents::new();
    for file in group.open_files.iter_mut().filter(|file| file.mounts.is_none()) {
        if let Ok(kind) = kind_named(file) {
            kind.with_named_file(file, &mut |named| {
                opened.extend(named.kept.map(|hash| (named.path.clone(), hash)));
            });
        }
    }
    opened
}

/// Which mapped files are executables.
fn run(group: &Group) -> Vec<usize> {
    use crate::resource::memory::layout::Executable;
    let alive = group.processes.iter().filter_map(Process::alive);
    let run = alive.filter_map(|alive| match alive.memory.layout.executable {
        Executable::Named(file) => Some(file),
        Executable::Content(_) => None,
    });
    run.collect()
}

fn stops(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.severity == Severity::Blocks)
}

/// The stores, with whoever may read them: those of the options, and for an image that is not root's the one beside it. Whoever owns a
/// store can write into it, and into what is mapped of it: it must be whoever the image is trusted as, or root.
fn shelves(reader: &Reader, options: &ThawOptions) -> Vec<StandIn> {
    let Ok(image) = reader.metadata() else { return Vec::new() };
    let own = nix::unistd::geteuid().as_raw();
    let mut shelves: Vec<StandIn> = Vec::new();
    let beside = reader.path().parent().map(KeptFiles::beside).filter(|_| image.uid() != 0 || own != 0);
    for (kept, is_beside) in options.kept.iter().map(|kept| (kept, false)).chain(beside.iter().map(|kept| (kept, true)))
    {
        let identity = match &options.asker {
            Some(asker) => Identity { user: asker.user, group: asker.group, groups: asker.groups.clone() },
            // Nobody learns through links in a store of his what only we may read.
            None => match outside::standing(|| kept.owner()) {
                Ok(Ok((user, group))) => Identity { user, group, groups: Vec::new() },
                _ => continue,
            },
        };
        let is_trusted =
            if is_beside { identity.user == image.uid() } else { [own, image.uid(), 0].contains(&identity.user) };
        let shelf = StandIn { kept: kept.clone(), identity };
        if is_trusted && !shelves.contains(&shelf) {
            shelves.push(shelf);
        }
    }
    shelves
}

/// Does something with a store, which is outside of any sandbox, with the rights of whoever may read it.
fn at<T>(shelf: &StandIn, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    outside::standing(|| {
        let _acting = Acting::begin(&shelf.identity)?;
        work()
    })?
}

fn has(shelf: &StandIn, hash: ContentHash) -> bool {
    // What is not root's stays what nobody can run.
    let opened = outside::standing(|| shelf.identity.user != 0 && shelf.kept.cannot_be_run());
    let opened = opened.map_err(io::Error::from).and_then(|cannot_be_run| {
        if cannot_be_run {
            return Err(io::Error::other("it lies on a disk from which nothing may be run"));
        }
        at(shelf, || shelf.kept.open(hash))
    });
    match opened {
        Ok(_) => true,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                let folder = shelf.kept.folder().display();
                tracing::warn!(%error, %hash, %folder, "a kept file cannot be used");
            }
            false
        }
    }
}

/// What is wished of working files, and where copies are.
struct Wish {
    shelves: Vec<StandIn>,
    changed: ChangedFiles,
    /// The image's.
    id: String,
    how: How,
}

/// What has become of an ordinary file.
fn changes(file: &NamedFile, exact: bool) -> Vec<Problem> {
    if file.mode & libc::S_IFMT == libc::S_IFREG { file.check(exact) } else { Vec::new() }
}

/// What stands in the way of an ordinary file.
fn hindrance(file: &NamedFile, exact: bool) -> Option<Problem> {
    changes(file, exact).into_iter().find(|problem| problem.severity == Severity::Blocks)
}

/// Whether an ordinary file has its name now, as far as its owner can see.
fn is_there(file: &NamedFile) -> bool {
    let acting = Acting::begin(&Identity::from(&file.owner));
    acting.is_ok_and(|_acting| file.path().metadata().is_ok_and(|found| found.is_file()))
}

impl Wish {
    fn of(reader: &Reader, options: &ThawOptions, how: How) -> Self {
        let id = reader.section::<Origin>(SectionKind::Origin).map(|origin| origin.id).unwrap_or_default();
        Self { shelves: shelves(reader, options), changed: options.changed, id, how }
    }

    /// Which store has a file with this content, for this image.
    fn shelf(&self, hash: ContentHash) -> Option<&StandIn> {
        let is_for_it =
            |shelf: &&StandIn| at(shelf, || Ok(shelf.kept.needed(&self.id))).is_ok_and(|needed| needed.contains(&hash));
        self.shelves.iter().filter(is_for_it).find(|shelf| has(shelf, hash))
    }

    /// The copy that takes the place of a program or a library.
    fn stand_in(&self, file: &NamedFile) -> Option<StandIn> {
        // What it writes to is a file of its own.
        let hash = file.kept.filter(|_| !file.writable)?;
        let shelf = self.shelf(hash)?;
        // Of a working file somebody chooses what becomes.
        let path = Path::new(OsStr::from_bytes(&file.path));
        at(shelf, || shelf.kept.is_program(hash, path)).unwrap_or(false).then(|| shelf.clone())
    }

    /// Does what is wished with a working file that has changed.
    fn settle(&self, file: &mut NamedFile, exact: bool) -> Option<Problem> {
        if matches!(self.changed, ChangedFiles::Stop) {
            return None;
        }
        let found = match self.changed {
            // What it held at the freeze, and no mixture of then and now.
            ChangedFiles::Kept(_) => changes(file, exact).into_iter().next()?,
            _ => hindrance(file, exact)?,
        };
        match self.changed {
            ChangedFiles::Stop => None,
            ChangedFiles::New => {
                if !is_there(file) {
                    return None;
                }
                file.accept();
                let loss = phrase!("what the program remembers of it, which may be wrong");
                Some(Problem::loses(ProblemKind::File, found.what, loss).at(file.shown()))
            }
            ChangedFiles::Missing(_) if file.path().symlink_metadata().is_ok() => None,
            ChangedFiles::Kept(folder) | ChangedFiles::Missing(folder) => {
                let hash = file.kept?;
                let shelf = self.shelf(hash)?;
                let folder = folder(file.owner.user, &self.id).filter(|_| !self.id.is_empty())?;
                Some(self.replace(file, found.what, (shelf, hash), &folder))
            }
        }
    }

    /// What could be wished of a file that stands in the way, by what it is called.
    fn remedies(&self, file: &NamedFile, exact: bool) -> Option<(String, Vec<Remedy>)> {
        hindrance(file, exact)?;
        let has_copy = !self.id.is_empty() && file.kept.is_some_and(|hash| self.shelf(hash).is_some());
        let remedies = [(Remedy::KeptFiles, has_copy), (Remedy::NewFiles, is_there(file))];
        Some((file.shown(), remedies.into_iter().filter(|(_, can)| *can).map(|(remedy, _)| remedy).collect()))
    }

    fn replace(
        &self,
        file: &mut NamedFile,
        what: Phrase,
        (shelf, hash): (&StandIn, ContentHash),
        folder: &Path,
    ) -> Problem {
        let (place, old) = (place(folder, file), file.shown());
        if outside::standing(|| is_worked_on(&place, hash, file)) == Ok(true) {
            let what = phrase!("the copy of {old} that an earlier thaw has put there has been changed since", old);
            let way_out = phrase!("Move it elsewhere, or remove it, then thaw again");
            return Problem::blocks(ProblemKind::File, what).at(shown(&place)).way_out(way_out);
        }
        if self.how == How::Make {
            let put = outside::standing(|| put(shelf, hash, file, &place)).map_err(io::Error::from);
            if let Err(error) = put.and_then(|put| put) {
                let why = phrase!("the copy of the freeze cannot be put in a place of its own: {why}", why = error);
                return Problem::blocks(ProblemKind::File, why).at(shown(&place));
            }
            file.path = ByteBuf::from(place.as_os_str().as_bytes());
        }
        file.accept();
        let loss = phrase!(
            "that it works on the file itself: it has the copy of the freeze, which is {place} now",
            place = shown(&place)
        );
        Problem::loses(ProblemKind::File, what, loss).at(old)
    }
}

/// Where the copy of a file comes.
fn place(folder: &Path, file: &NamedFile) -> PathBuf {
    let path = Path::new(OsStr::from_bytes(&file.path));
    // Whoever wrote the image may have written anything; what is below the folder stays there.
    let names = path.components().filter(|part| matches!(part, Component::Normal(_)));
    names.fold(folder.to_owned(), |place, name| place.join(name))
}

/// Whether a copy that is there already is not that of the freeze any more: the program knows nothing of what came later. One that cannot be
/// read is found when it is opened.
fn is_worked_on(place: &Path, hash: ContentHash, file: &NamedFile) -> bool {
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let Ok(_acting) = Acting::begin(&Identity::from(&file.owner)) else { return false };
    let found = files::open(place, flags).map(fs::File::from);
    found.is_ok_and(|mut found| ContentHash::of(&mut found).is_ok_and(|now| now != hash))
}

/// Makes the copy, which belongs to whom the file is opened for. One that is there already stays: two descriptors of a file, or the thaw
/// before, have made it.
fn put(shelf: &StandIn, hash: ContentHash, file: &NamedFile, place: &Path) -> io::Result<()> {
    let above = place.parent().unwrap_or(place);
    let source = {
        let _acting = Acting::begin(&shelf.identity)?;
        shelf.kept.open(hash)?
    };
    let owner = Identity::from(&file.owner);
    let _acting = Acting::begin(&owner)?;
    DirBuilder::new().recursive(true).mode(0o700).create(above)?;
    if place.symlink_metadata().is_ok_and(|found| found.is_file()) {
        return Ok(());
    }
    let copy = tempfile::NamedTempFile::new_in(above)?;
    if files::reflink(&source, copy.as_file()).is_err() {
        let mut source = &source;
        io::Seek::rewind(&mut source)?;
        io::copy(&mut source, &mut copy.as_file())?;
    }
    copy.as_file().set_permissions(Permissions::from_mode(file.mode & 0o777 | 0o200))?;
    copy.as_file().sync_all()?;
    match copy.persist_noclobber(place) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }?;
    fs::metadata(place).map(drop)
}

/// Opens the copy that was chosen for a mapped file; and what is to be told of it.
pub fn open(file: &NamedFile, stand_in: &StandIn) -> Result<(OwnedFd, Option<Problem>), Problem> {
    let failed = |why: Phrase| {
        let what = phrase!("the copy of it that was kept cannot be opened: {why}", why);
        Problem::blocks(ProblemKind::File, what).at(file.shown())
    };
    let hash = file.kept.ok_or_else(|| failed(phrase!("it has no hash")))?;
    let path = Path::new(OsStr::from_bytes(&file.path));
    let opened = outside::standing(|| stand_in.kept.open_as(hash, path, &stand_in.identity));
    let opened = opened.unwrap_or_else(|errno| Err(errno.into()));
    let (opened, as_it_was) = opened.map_err(|error| failed(Phrase::from(error.to_string())))?;
    let place = stand_in.kept.object(hash);
    let loss = phrase!("its name: it is a copy, and shows as {place}", place = shown(&place));
    let what = phrase!("the file has been changed or replaced since the freeze");
    let told = (!as_it_was).then(|| Problem::loses(ProblemKind::File, what, loss).at(file.shown()));
    Ok((opened, told))
}

/// The names of the mapped files in whose place copies are, for a person.
pub fn names(group: &Group) -> Vec<String> {
    let replaced = group.mapped_files.iter().filter(|file| file.stand_in.is_some());
    let mut names: Vec<String> = replaced.map(NamedFile::shown).collect();
    names.sort();
    names.dedup();
    names
}
