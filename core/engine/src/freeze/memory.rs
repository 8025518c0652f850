//! What the mappings of the group show, and which of their pages are to be stored.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, phrase};
use serde_bytes::ByteBuf;

use super::mapped_files::{MappedFiles, Place};
use super::pages::Piece;
use crate::image::{PageBuffer, PageSink};
use crate::kernel::pagemap::{PageMap, PageRun};
use crate::kernel::{files, outside};
use crate::model::RemotePtr;
use crate::proc;
use crate::proc::maps::{DetailedMapping, MappingName, VmFlags};
use crate::resource::content::{self, Origin};
use crate::resource::fd::{Contents, MountsWithin};
use crate::resource::memory::inherit::{Range, inherited, without};
use crate::resource::memory::layout::Executable;
use crate::resource::memory::mapping::{Backing, Mapping, PAGE, Run, Source};
use crate::resource::memory::ring;
use crate::resource::memory::segment::{self, Segments};
use crate::resource::memory::vdso::{MOST_BYTES, Sort, Vdso};
use crate::resource::named_file::{self, NamedFile, Owner};
use crate::survey::collect::{LivingFacts, ProcessFacts};
use crate::survey::mapped;

/// Where records of files go.
pub struct Registry<'a, 'b> {
    /// The group.
    pub members: &'a [ProcessFacts],
    /// Files with a name.
    pub mapped: &'a mut MappedFiles<'b>,
    /// Files without.
    pub contents: &'a mut Contents,
    /// System V shared memory.
    pub segments: &'a mut Segments,
    /// Where their content goes.
    pub sink: &'a PageSink,
    /// A buffer for it.
    pub buffer: &'a mut PageBuffer,
}

impl Registry<'_, '_> {
    /// The record of a mapped file, by the name that it has now.
    fn mapped(
        &mut self,
        (name, living): (&[u8], &LivingFacts),
        through: &str,
        found: &DetailedMapping,
        owner: &Owner,
    ) -> std::io::Result<usize> {
        let mounts = mapped::mounts_of(living, Path::new(through));
        let key = (name.to_vec(), mounts.map(|mounts| mounts.index), mapped::is_for_writing(found), owner.clone());
        let members = self.members;
        // Where nobody may, that was said before.
        let find = || {
            let opener = MountsWithin::among(mounts, || mapped::opener(members, name, found, owner));
            opener.and_then(|opener| opener).unwrap_or_else(|_| owner.clone())
        };
        let opener = self.mapped.openers.entry(key).or_insert_with(find).clone();
        let place = (found.device, found.inode);
        let index = self.named((name, living), (through, place), mapped::is_for_writing(found), &opener)?;
        if opener != *owner
            && let Some(record) = self.mapped.records.get_mut(index)
            && record.ends.is_none()
        {
            record.ends = Some(named_file::ends(&File::open(through)?, record.size)?);
        }
        Ok(index)
    }

    fn named(
        &mut self,
        (path, living): (&[u8], &LivingFacts),
        (through, place): (&str, Place),
        writable: bool,
        owner: &Owner,
    ) -> std::io::Result<usize> {
        let mounts = mapped::mounts_of(living, Path::new(through));
        let index = mounts.map(|mounts| mounts.index);
        let key = ((path.to_vec(), index, writable, owner.clone()), place);
        if let Some(known) = self.mapped.known.get(&key) {
            return Ok(*known);
        }
        let place = files::open(Path::new(through), libc::O_PATH)?;
        let stat = files::stat(&place)?;
        let seen = MountsWithin::among(mounts, || {
            let record = NamedFile { mounts: index, ..NamedFile::of(path, &stat, writable, owner) };
            let found = files::identity(&record.path());
            (record, found.is_ok_and(|found| found == (stat.st_dev, stat.st_ino)))
        });
        let (mut record, leads_to_it) = seen?;
        if (outside::known().is_some() || living.mounts.is_some()) && !record.outside && !leads_to_it {
            if !self.mapped.keeper.will_keep(&record, through) {
                let what = phrase!(
                    "{record} is neither in the sandbox nor outside of it by that name",
                    record = record.shown()
                );
                return Err(std::io::Error::new(std::io::ErrorKind::NotFound, what.to_string()));
            }
            // A copy that took the place of a file there: it takes it again, or whatever else its name does not lead to.
            self.mapped.by_copy.insert(self.mapped.records.len());
            record.mounts = living.mounts.as_ref().map(|own| own.index);
        }
        self.mapped.note(record, through, &stat);
        self.mapped.known.insert(key, self.mapped.records.len() - 1);
        Ok(self.mapped.records.len() - 1)
    }

    fn content(
        &mut self,
        living: &LivingFacts,
        through: &str,
        origin: impl FnOnce(&File) -> Origin,
    ) -> Result<usize, Problem> {
        let problem = |error: &dyn std::fmt::Display| {
            Problem::blocks(
                ProblemKind::DeletedFile,
                phrase!("a mapped file without a name cannot be read: {why}", why = error),
            )
        };
        let file = File::open(through).map_err(|error| problem(&error))?;
        let stat = files::stat(&file).map_err(|error| problem(&error))?;
        let origin = origin(&file);
        let mounts = mapped::mounts_of(living, Path::new(through)).map(|mounts| mounts.index);
        self.contents.index(&file, &stat, (origin, mounts), self.sink, self.buffer)
    }
}

/// By process: the records of its mappings, without their pages, and the file it runs; nothing of a zombie.
pub type Shown = (Vec<Vec<Mapping>>, Vec<Option<Executable>>);

/// What the members show.
pub fn shown(facts: &[ProcessFacts], registry: &mut Registry<'_, '_>) -> Result<Shown, Problem> {
    let mut all = (Vec::with_capacity(facts.len()), Vec::with_capacity(facts.len()));
    for found in facts {
        let living = found.living.as_ref();
        all.0.push(living.map(|living| mappings(found, living, registry)).transpose()?.unwrap_or_default());
        all.1.push(living.map(|living| executable(found, living, registry)).transpose()?);
    }
    Ok(all)
}

/// The records of a process's mappings, without their pages; the kernel's page for vsyscalls is everybody's.
fn mappings(
    process: &ProcessFacts,
    living: &LivingFacts,
    registry: &mut Registry<'_, '_>,
) -> Result<Vec<Mapping>, Problem> {
    let owner = crate::survey::files::owner(process);
    let mut records = Vec::with_capacity(living.mappings.len());
    for found in living.mappings.iter().filter(|found| found.name != MappingName::Vsyscall) {
        let backing = backing(living, found, &owner, registry).map_err(|problem| problem.of(&process.shown))?;
        let name = match &found.name {
            MappingName::AnonymousName(name) | MappingName::AnonymousShared(name) => Some(ByteBuf::from(name.clone())),
            _ => None,
        };
        let protection =
            [(found.read, libc::PROT_READ), (found.write, libc::PROT_WRITE), (found.execute, libc::PROT_EXEC)];
        records.push(Mapping {
            start: found.start,
            end: found.end,
            protection: protection.iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum(),
            flags: found.flags,
            backing,
            offset: found.offset,
            name,
            protection_key: found.protection_key.unwrap_or(0),
            policy: None,
            pages: Vec::new(),
            guards: Vec::new(),
            huge_page: if found.flags.contains(VmFlags::HUGETLB) { found.kernel_page_size } else { 0 },
        });
    }
    Ok(records)
}

/// The vdsos, that of 32-bit programs behind the other one; every process of a sort has the same. To be read before the engine works in
/// anybody: its foothold lies in there.
pub fn vdsos(facts: &[ProcessFacts]) -> (Option<Vdso>, Option<Vdso>) {
    (vdso(facts, Sort::Native), vdso(facts, Sort::Ia32))
}

fn vdso(facts: &[ProcessFacts], sort: Sort) -> Option<Vdso> {
    let vdso = |living: &LivingFacts| living.mappings.iter().position(|found| found.name == MappingName::Vdso);
    let mut living = facts.iter().filter_map(|found| found.living.as_ref()).filter(|living| living.sort == sort);
    let (living, found) = living.find_map(|living| Some((living, &living.mappings[vdso(living)?])))?;
    let mut code = vec![0; usize::try_from(found.end - found.start).ok()?.min(MOST_BYTES)];
    crate::kernel::memory::read(Pid(living.speaker.0), RemotePtr(found.start), &mut code).ok()?;
    // The engine stands there already.
    crate::puppet::foothold::blank(&mut code);
    Some(Vdso { code })
}

/// What anonymous memory of huge pages shows: a file of the kernel's own.
const HUGE: &[u8] = b"/anon_hugepage (deleted)";

fn backing(
    living: &LivingFacts,
    found: &DetailedMapping,
    owner: &Owner,
    registry: &mut Registry<'_, '_>,
) -> Result<Backing, Problem> {
    let through = mapped::reached_through(living, found);
    let through = through.to_string_lossy();
    let path = match &found.name {
        MappingName::Vdso => return Ok(Backing::Vdso),
        MappingName::Vvar | MappingName::VvarVclock => return Ok(Backing::Vvar),
        MappingName::AnonymousShared(_) => {
            return registry.content(living, &through, |_| Origin::SharedAnonymous).map(Backing::Content);
        }
        MappingName::File(path) => path,
        _ => return Ok(Backing::Anonymous),
    };
    if ring::is_one(found) {
        return Ok(Backing::Ring);
    }
    if path == HUGE && found.flags.contains(VmFlags::HUGETLB) && !found.flags.contains(VmFlags::MAY_SHARE) {
        return Ok(Backing::Anonymous);
    }
    if segment::is_one(found) {
        let (segments, sink) = (&mut *registry.segments, registry.sink);
        return segments.index(found, || File::open(&*through), sink, registry.buffer).map(Backing::Segment);
    }
    let (name, deleted) = proc::strip_deleted(path);
    if deleted && let Some(other) = other_name(name, living, &through)? {
        return registry
            .mapped((&other, living), &through, found, owner)
            .map(Backing::File)
            .map_err(|error| unseen(&other, error.to_string()));
    }
    if deleted {
        let origin = |file: &File| {
            crate::resource::fd::origin_of(path, owner, content::seals(file)).unwrap_or(Origin::SharedAnonymous)
        };
        return registry.content(living, &through, origin).map(Backing::Content);
    }
    // What reads as a line feed may be the letters `\012`, proc_pid_maps(5); the link has the name as it is.
    let link = name.contains(&b'\n').then(|| std::fs::read_link(&*through).ok()).flatten();
    let name = link.as_ref().map_or(name, |link| OsStrExt::as_bytes(link.as_os_str()));
    registry
        .mapped((name, living), &through, found, owner)
        .map(Backing::File)
        .map_err(|error| unseen(name, error.to_string()))
}

fn unseen(name: &[u8], error: impl Into<Phrase>) -> Problem {
    let shown = String::from_utf8_lossy(name).escape_debug().to_string();
    Problem::blocks(ProblemKind::File, phrase!("a mapped file cannot be looked at: {why}", why = error.into()))
        .at(shown)
}

/// The name that a mapped file still has when the one it was opened by was removed; it must not become two files.
fn other_name(removed: &[u8], living: &LivingFacts, through: &str) -> Result<Option<Vec<u8>>, Problem> {
    let place = files::open(Path::new(through), libc::O_PATH).map_err(|errno| unseen(removed, errno.desc()))?;
    let stat = files::stat(&place).map_err(|errno| unseen(removed, errno.desc()))?;
    if stat.st_nlink == 0 {
        return Ok(None);
    }
    let find = || named_file::other_name(Path::new(std::ffi::OsStr::from_bytes(removed)), &stat);
    let found = MountsWithin::among(mapped::mounts_of(living, Path::new(through)), find).unwrap_or_default();
    found.map(|path| Some(path.into_os_string().into_encoded_bytes())).ok_or_else(|| {
        let problem = unseen(removed, phrase!("its name was removed, and the other name that it has cannot be found"));
        problem.way_out(phrase!("Link it to its folder again (ln)"))
    })
}

/// The file a process runs.
fn executable(
    process: &ProcessFacts,
    living: &LivingFacts,
    registry: &mut Registry<'_, '_>,
) -> Result<Executable, Problem> {
    let owner = crate::survey::files::owner(process);
    let through = crate::kernel::procfs::path(format!("{}/exe", living.speaker));
    let through = through.to_string_lossy();
    let (path, deleted) = proc::strip_deleted(&living.executable);
    let unseen = |error: &dyn std::fmt::Display| {
        Problem::blocks(ProblemKind::File, phrase!("its executable cannot be looked at: {why}", why = error))
            .of(&process.shown)
    };
    let stat = files::open(Path::new(&*through), libc::O_PATH).and_then(|file| files::stat(&file));
    let stat = stat.map_err(|errno| unseen(&errno.desc()))?;
    let place = ((libc::major(stat.st_dev), libc::minor(stat.st_dev)), stat.st_ino);
    if deleted && let Some(other) = other_name(path, living, &through).map_err(|problem| problem.of(&process.shown))? {
        return registry
            .named((&other, living), (&through, place), false, &owner)
            .map(Executable::Named)
            .map_err(|error| unseen(&error));
    }
    if deleted {
        let origin = |file: &File| {
            crate::resource::fd::origin_of(&living.executable, &owner, content::seals(file))
                .unwrap_or(Origin::SharedAnonymous)
        };
        return registry
            .content(living, &through, origin)
            .map(Executable::Content)
            .map_err(|problem| problem.of(&process.shown));
    }
    let is_it = |found: &&DetailedMapping| matches!(&found.name, MappingName::File(name) if name.as_slice() == path);
    let of_its_name = || living.mappings.iter().filter(is_it);
    // On overlayfs inodes may be shown otherwise.
    let it = of_its_name().find(|found| found.inode == stat.st_ino).or_else(|| of_its_name().next());
    let found = match it {
        Some(found) if !mapped::is_for_writing(found) => registry.mapped((path, living), &through, found, &owner),
        _ => registry.named((path, living), (&through, place), false, &owner),
    };
    found.map(Executable::Named).map_err(|error| unseen(&error))
}

/// The page maps of the group, and what each process shares with its parent.
#[derive(Debug, Default)]
pub struct OwnPages {
    /// What is to be stored.
    pub pieces: Vec<Piece>,
    /// Runs that the parent has too, by process and mapping.
    pub inherited: HashMap<(usize, usize), Vec<Run>>,
    /// Pages that are guarded, by process and mapping.
    pub guards: HashMap<(usize, usize), Vec<(u64, u64)>>,
}

/// A process whose pages are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Space<'a> {
    /// A thread of it that has not exited, as the number of a process.
    pub pid: Pid,
    /// Its mappings.
    pub mappings: &'a [Mapping],
    /// What the survey knows of them, in the same order.
    pub found: &'a [DetailedMapping],
}

impl OwnPages {
    /// Looks for the pages of the nth process; `parent` is its parent, if that is in the group.
    pub fn add(&mut self, index: usize, space: Space<'_>, parent: Option<Space<'_>>) -> Result<(), Problem> {
        let failed = |error: &dyn std::fmt::Display| {
            Problem::blocks(
                ProblemKind::Memory,
                phrase!("the page map of pid {pid} cannot be read: {why}", pid = space.pid, why = error),
            )
        };
        let mut map = PageMap::open(space.pid).map_err(|error| failed(&error))?;
        let mut parent_map = match parent {
            Some(parent) => Some((PageMap::open(parent.pid).map_err(|error| failed(&error))?, parent.mappings)),
            None => None,
        };
        for guarded in map.guarded_runs().map_err(|error| failed(&error.desc()))? {
            for (place, mapping) in space.mappings.iter().enumerate() {
                let (start, end) = (guarded.start.max(mapping.start), guarded.end.min(mapping.end));
                if start < end {
                    let pages = ((start - mapping.start) / PAGE, (end - start) / PAGE);
                    self.guards.entry((index, place)).or_default().push(pages);
                }
            }
        }
        let holds = |start: u64| {
            let place = space.found.binary_search_by_key(&start, |found| found.start);
            let found = place.ok().map(|place| &space.found[place]);
            // The kernel counts huge pages elsewhere.
            found.is_some_and(|found| found.anonymous + found.swap > 0 || found.flags.contains(VmFlags::HUGETLB))
        };
        for (place, mapping) in space.mappings.iter().enumerate() {
            if mapping.is_shared() || mapping.is_of_the_kernel() || !holds(mapping.start) {
                continue;
            }
            let mut runs = map.private_runs(mapping.start, mapping.end).map_err(|error| failed(&error.desc()))?;
            if let Some((parent_map, parent_mappings)) = &mut parent_map {
                let ranges = inherited(mapping, parent_mappings);
                let shared = shared(&runs, &ranges, &mut map, parent_map).map_err(|error| failed(&error.desc()))?;
                runs = runs
                    .into_iter()
                    .flat_map(|run| {
                        without(Range { start: run.start, end: run.end }, &shared)
                            .into_iter()
                            .map(|range| PageRun { start: range.start, end: range.end })
                    })
                    .collect();
                let inherited = shared.iter().map(|range| Run {
                    page: (range.start - mapping.start) / PAGE,
                    count: (range.end - range.start) / PAGE,
                    source: Source::Inherited,
                });
                self.inherited.insert((index, place), inherited.collect());
            }
            self.pieces.extend(runs.into_iter().map(|run| Piece {
                process: index,
                mapping: place,
                start: run.start,
                pages: (run.end - run.start) / PAGE,
                forced: mapping.protection & libc::PROT_READ == 0,
            }));
        }
        Ok(())
    }
}

/// The pages among `runs` that are the very pages of the parent, the same physical frames at the same addresses; `ranges`
/// is where that can be. Only pages that are there are looked at: a reservation may be a thousand times as large.
fn shared(
    runs: &[PageRun],
    ranges: &[Range],
    map: &mut PageMap,
    parent_map: &mut PageMap,
) -> Result<Vec<Range>, crate::kernel::Errno> {
    const AT_ONCE: u64 = 4096;
    let mut shared: Vec<Range> = Vec::new();
    let mut ranges = ranges.iter().peekable();
    for run in runs {
        let mut start = run.start;
        while start < run.end {
            // Runs and ranges are both in order of their addresses.
            while ranges.next_if(|range| range.end <= start).is_some() {}
            let Some(range) = ranges.peek().filter(|range| range.start < run.end) else { break };
            start = start.max(range.start);
            let end = run.end.min(range.end).min(start + AT_ONCE * PAGE);
            for (own, theirs) in map.frames(start, end)?.iter().zip(parent_map.frames(start, end)?) {
                match shared.last_mut() {
                    _ if *own == 0 || own != theirs => {}
                    Some(last) if last.end == start => last.end += PAGE,
                    _ => shared.push(Range { start, end: start + PAGE }),
                }
                start += PAGE;
            }
        }
    }
    Ok(shared)
}
