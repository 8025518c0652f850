//! The record of a stopped group, its pages stored on the way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use dormouse_wire::{Phase, Pid, Problem, ProblemKind, ProcessName, Progress, phrase};
use serde_bytes::ByteBuf;

use super::keeping::Keeper;
use super::mapped_files::MappedFiles;
use super::memory::{self, OwnPages, Registry, Space};
use super::origin;
use super::pages;
use super::rings;
use super::stopped::{Stopped, StoppedProcess};
use super::tasks::{self, Answers};
use super::terminal;
use super::verdict::Verdict;
use crate::FreezeError;
use crate::image::{PAGE, PageBuffer, PageSink};
use crate::kernel::Errno;
use crate::kernel::kcmp::{Owners, Shared};
use crate::kernel::processor::{self, Component};
use crate::kernel::threads::beside;
use crate::proc::stat::{self, Stat};
use crate::proc::status::Status;
use crate::resource::clocks::Clocks;
use crate::resource::fd::{self, Capture, Contents, OpenFile};
use crate::resource::group::{Alive, Group, Life, Process};
use crate::resource::memory::layout::Executable;
use crate::resource::memory::mapping::{Mapping, Run, Source};
use crate::resource::memory::segment::Segments;
use crate::resource::memory::vdso::Sort;
use crate::resource::memory::{Memory, layout, policy, protection_keys};
use crate::resource::namespace::inner::{Place, called_at};
use crate::resource::origin::Origin;
use crate::resource::system_v::queue::{self, Queue};
use crate::resource::system_v::semaphores::{self, Set};
use crate::resource::task::control_group::Captured;
use crate::resource::task::family::Family;
use crate::resource::task::filesystem::Filesystem;
use crate::resource::task::landlock::Witnesses;
use crate::resource::task::limits::Limits;
use crate::resource::task::stop::Stop;
use crate::resource::task::zombie;
use crate::survey::collect::{LivingFacts, ProcessFacts};
use crate::survey::files::OpenFiles;
use crate::survey::inner::InnerFacts;

/// A group, recorded.
#[derive(Debug)]
pub struct Recorded {
    /// The record.
    pub group: Group,
    /// How much memory was looked at, bytes.
    pub bytes: u64,
    /// Where it comes from.
    pub origin: Origin,
}

/// Records the group. Its pages are stored while its tasks are asked about themselves: the one waits for the disk, the other
/// for the tasks.
// tidy: long because it fills the largest of all records, a line a field
pub fn record(
    stopped: &mut Stopped,
    facts: &[ProcessFacts],
    open: &mut OpenFiles,
    mut inner: InnerFacts,
    (sink, keeper): (&PageSink, &Keeper<'_>),
    verdict: &mut Verdict,
    progress: &dyn Progress,
) -> Result<Recorded, FreezeError> {
    let (vdsos, mut buffer, asked) = (memory::vdsos(facts), PageBuffer::new(), settled(stopped, facts, verdict)?);
    let mut mapped = MappedFiles::of(open, keeper);
    let (mut contents, mut segments) = (Contents::default(), Segments::default());
    let mut registry = Registry {
        members: facts,
        mapped: &mut mapped,
        contents: &mut contents,
        segments: &mut segments,
        sink,
        buffer: &mut buffer,
    };
    let (mut mappings, executables) = memory::shown(facts, &mut registry)?;
    segments.of_nobody(sink, &mut buffer)?;
    let until = Until { progress, refused: AtomicBool::new(false) };
    let (stored, told) = beside(
        || store_pages(&mut mappings, facts, sink, &until).inspect(|_| mapped.look()),
        || {
            let mut capture = Capture { files: &open.facts, sink, buffer: &mut buffer, contents: &mut contents };
            tell(stopped, facts, open, &mut capture, verdict, asked)
                .inspect_err(|_| until.refused.store(true, Ordering::Relaxed))
        },
    );
    let (mut told, bytes) = (told?, stored?);
    mapped.lost().map_or(Ok(()), Err)?;
    let mounted = inner.complete((&mut told.open_files, &mut told.control_groups), sink, &mut buffer)?;
    let processes = (facts.iter().zip(&stopped.processes).zip(mappings.into_iter().zip(executables)).enumerate())
        .map(|(index, ((found, process), (mappings, executable)))| {
            let life = life(process, found, &mut told, index, executable.map(|executable| (mappings, executable)));
            member(found, told.families[index].clone(), inner.places.get(index), life)
        })
        .collect();
    let group = Group {
        processes,
        file_tables: std::mem::take(&mut open.tables),
        filesystems: told.filesystems.records,
        open_files: told.open_files,
        hold: None,
        vdso: vdsos.0,
        narrow_vdso: vdsos.1,
        mapped_files: mapped.records,
        contents: contents.records,
        segments: segments.records,
        semaphores: told.semaphores,
        queues: told.queues,
        inner: inner.all,
        mounted,
        control_groups: told.control_groups.records,
        components: told.components,
        clocks: clocks(facts),
        terminal: terminal::record(facts, open)?,
    };
    Ok(Recorded { group, bytes, origin: told.origin })
}

/// Whoever watches the freeze, and besides: no page more is stored once it is refused.
struct Until<'a> {
    progress: &'a dyn Progress,
    refused: AtomicBool,
}

impl Progress for Until<'_> {
    fn begins(&self, phase: Phase, bytes: u64) {
        self.progress.begins(phase, bytes);
    }

    fn moved(&self, bytes: u64) {
        self.progress.moved(bytes);
    }

    fn cancelled(&self) -> bool {
        self.refused.load(Ordering::Relaxed) || self.progress.cancelled()
    }
}

/// All that is learnt of the processes but their memory.
struct Told {
    /// What its tasks have said, by process; nothing of a zombie.
    answers: Vec<Option<Answers>>,
    continued: Vec<Pid>,
    families: Vec<Family>,
    filesystems: Filesystems,
    open_files: Vec<OpenFile>,
    tables: Vec<usize>,
    semaphores: Vec<Set>,
    queues: Vec<Queue>,
    control_groups: Captured,
    components: Vec<Component>,
    origin: Origin,
}

/// What the tasks of each process say of themselves; nothing of a zombie.
fn ask(stopped: &mut Stopped, facts: &[ProcessFacts]) -> Result<Vec<Option<Answers>>, Problem> {
    let (running, waits) = stopped.parts();
    let mut witnesses = Witnesses::nobody();
    let ask = |(process, found): (&mut StoppedProcess, &ProcessFacts)| {
        let asked = found
            .living
            .as_ref()
            .map(|living| tasks::ask(process, found, living, waits, &children(facts, found), &mut witnesses));
        asked.transpose()
    };
    running.iter_mut().zip(facts).map(ask).collect()
}

/// What the tasks say that stands in the way, besides what is known already, if they can be asked.
pub fn said(stopped: &mut Stopped, facts: &[ProcessFacts], verdict: &Verdict) -> Vec<Problem> {
    if !verdict.lets_ask() {
        return Vec::new();
    }
    let said = ask(stopped, facts).and_then(|mut answers| {
        // Whoever only looks does not keep them waiting.
        let mut problems = rings::settle(stopped, facts, &mut answers, rings::A_MOMENT)?;
        problems.extend(answers.into_iter().flatten().flat_map(|answers| answers.problems));
        Ok(problems)
    });
    said.unwrap_or_else(|problem| vec![problem])
}

/// What the tasks say, which must not stand in the way.
fn agreed(
    stopped: &mut Stopped,
    facts: &[ProcessFacts],
    verdict: &mut Verdict,
) -> Result<Vec<Option<Answers>>, FreezeError> {
    let answers = ask(stopped, facts)?;
    verdict.note(answers.iter().flatten().flat_map(|answers| answers.problems.iter().cloned()).collect());
    if verdict.refuses() { Err(verdict.refusal()) } else { Ok(answers) }
}

/// The same, where there are contexts for asynchronous I/O: requests under way write into memory, and come to their end
/// before any of it is read.
fn settled(
    stopped: &mut Stopped,
    facts: &[ProcessFacts],
    verdict: &mut Verdict,
) -> Result<Option<Vec<Option<Answers>>>, FreezeError> {
    if !rings::has_any(facts) {
        return Ok(None);
    }
    let mut answers = agreed(stopped, facts, verdict)?;
    verdict.note(rings::settle(stopped, facts, &mut answers, rings::PATIENCE)?);
    if verdict.refuses() { Err(verdict.refusal()) } else { Ok(Some(answers)) }
}

fn tell(
    stopped: &mut Stopped,
    facts: &[ProcessFacts],
    open: &OpenFiles,
    capture: &mut Capture<'_>,
    verdict: &mut Verdict,
    asked: Option<Vec<Option<Answers>>>,
) -> Result<Told, FreezeError> {
    let answers = asked.map_or_else(|| agreed(stopped, facts, verdict), Ok)?;
    let said = answers.iter().flatten();
    let continued = said.flat_map(|answers| answers.continued.iter().copied()).collect();
    let members: Vec<Pid> = facts.iter().map(|process| process.pid).collect();
    let unread = |errno: Errno| {
        let what = phrase!("System V objects that the group uses cannot be read: {why}", why = errno.desc());
        Problem::blocks(ProblemKind::Process, what).way_out(phrase!("Run Dormouse as root"))
    };
    let users = members.iter().copied().collect();
    let mut outsiders = Outsiders { moved: terminal::sessions(facts, open), all: None };
    Ok(Told {
        answers,
        continued,
        families: facts.iter().map(|found| family(found, &members, &mut outsiders)).collect(),
        filesystems: Filesystems::of(facts),
        open_files: open.facts.files.iter().map(|facts| fd::capture(facts, capture)).collect::<Result<Vec<_>, _>>()?,
        tables: facts.iter().map(|found| open.table_of.get(&found.pid).copied().unwrap_or_default()).collect(),
        semaphores: semaphores::capture(&users).map_err(unread)?,
        queues: queue::capture(&users).map_err(unread)?,
        control_groups: Captured::begin(),
        components: processor::components(),
        origin: origin::here(facts),
    })
}

/// The record of a process's life; `memory`: its mappings and what it runs.
fn life(
    process: &StoppedProcess,
    found: &ProcessFacts,
    told: &mut Told,
    index: usize,
    memory: Option<(Vec<Mapping>, Executable)>,
) -> Life {
    let (Some(living), Some(mut answers), Some((mappings, executable))) =
        (&found.living, told.answers[index].take(), memory)
    else {
        return Life::Zombie(zombie::capture(found.stat.exit_code, &found.status));
    };
    for (tid, own) in living.threads.iter().filter_map(|found| Some((found.tid, found.control_groups.as_ref()?))) {
        if let Some(thread) = answers.threads.iter_mut().find(|thread| thread.tid == tid) {
            thread.control_groups = told.control_groups.of(own);
        }
    }
    Life::Alive(Box::new(Alive {
        ia32: living.sort == Sort::Ia32,
        stop: stop(process.stopped_by, found, &told.continued),
        memory: memory_of(&answers, living, mappings, executable),
        threads: answers.threads,
        file_table: told.tables[index],
        filesystem: told.filesystems.of_process[index],
        dispositions: answers.dispositions,
        pending: process.shared_pending.clone(),
        timers: answers.timers,
        limits: Limits(living.limits.iter().map(|limit| (limit.soft, limit.hard)).collect()),
        attributes: answers.attributes,
        filters: answers.filters,
        control_groups: told.control_groups.of(&living.control_groups),
    }))
}

/// The record of a process.
fn member(found: &ProcessFacts, family: Family, place: Option<&Place>, life: Life) -> Process {
    let place = place.copied().unwrap_or_default();
    Process { family, name: name(found), place, inner: further_in(&found.status), life }
}

/// What it is called in each pid namespace below that of the engine.
fn further_in(status: &Status) -> Vec<i32> {
    status.namespace_pid.get(1..).unwrap_or_default().to_vec()
}

fn name(found: &ProcessFacts) -> ByteBuf {
    ByteBuf::from(found.stat.comm.clone())
}

/// As the first process saw them.
fn clocks(facts: &[ProcessFacts]) -> Clocks {
    let offsets = facts.iter().find_map(|found| found.living.as_ref()).map(|living| living.clock_offsets);
    Clocks::seen_with(offsets.unwrap_or_default())
}

fn memory_of(answers: &Answers, living: &LivingFacts, mut mappings: Vec<Mapping>, executable: Executable) -> Memory {
    let (asked, batch) = &answers.memory;
    policy::answer_mappings(&asked.policies, batch, &mut mappings);
    Memory {
        layout: layout::answer(asked.heap, batch, &living.addresses, living.auxiliary.clone(), executable),
        protection_keys: protection_keys::answer(&asked.keys, batch, &mappings),
        mappings,
        rings: asked.settled.clone(),
        own_segments: asked.own_segments.clone(),
        lock_future: answers.lock_future,
    }
}

fn stop(stopped_by: Option<i32>, found: &ProcessFacts, continued: &[Pid]) -> Stop {
    let news = match stopped_by {
        // What the parent would be told stands there until it has been.
        Some(_) => found.stat.exit_code != 0,
        None => continued.contains(&found.pid),
    };
    Stop { by: stopped_by, news }
}

/// Its living children, and what it calls them itself.
fn children(facts: &[ProcessFacts], parent: &ProcessFacts) -> Vec<(Pid, Pid)> {
    let level = parent.status.namespace_pid.len().saturating_sub(1);
    let own = facts.iter().filter(|found| found.stat.ppid == parent.pid && found.living.is_some());
    own.map(|found| (found.pid, Pid(called_at(found.pid.0, &further_in(&found.status), level)))).collect()
}

fn family(found: &ProcessFacts, members: &[Pid], outside: &mut Outsiders) -> Family {
    let led = |leader: Pid| members.contains(&leader);
    Family {
        session_outside: outside.moved.contains(&found.stat.session)
            || !led(found.stat.session) && outside.any(|stat| stat.session == found.stat.session, members),
        process_group_outside: !led(found.stat.pgrp) && outside.any(|stat| stat.pgrp == found.stat.pgrp, members),
        pid: found.pid,
        parent: Some(found.stat.ppid).filter(|parent| members.contains(parent)),
        process_group: found.stat.pgrp,
        session: found.stat.session,
        exit_signal: found.stat.exit_signal,
    }
}

/// The processes outside the group, read when they are first asked for: most groups lead their own sessions.
struct Outsiders {
    /// Sessions that are the caller's after the thaw, because their terminal is.
    moved: Vec<Pid>,
    all: Option<Vec<Stat>>,
}

impl Outsiders {
    fn any(&mut self, which: impl Fn(&Stat) -> bool, members: &[Pid]) -> bool {
        let all = self.all.get_or_insert_with(|| {
            let pids = crate::proc::list_pids().unwrap_or_default();
            // Whoever ends meanwhile is in no session any more.
            pids.into_iter().filter_map(|pid| crate::proc::parsed(pid, "stat", stat::parse).ok()).collect()
        });
        all.iter().any(|stat| !members.contains(&Pid(stat.pid.0)) && which(stat))
    }
}

/// Places in the filesystem, each once where tasks share it (CLONE_FS).
struct Filesystems {
    records: Vec<Filesystem>,
    /// The record of each process; 0 for a zombie, which is nowhere.
    of_process: Vec<usize>,
}

impl Filesystems {
    fn of(facts: &[ProcessFacts]) -> Self {
        let (mut owners, mut records) = (Owners::of(Shared::Filesystem), Vec::new());
        let record = |process: &ProcessFacts| {
            let Some(living) = &process.living else { return 0 };
            owners.find_or_add(living.speaker).unwrap_or_else(|new| {
                records.push(Filesystem {
                    working_directory: ByteBuf::from(living.working_directory.clone()),
                    root: ByteBuf::from(living.root.clone()),
                    ended: living.ended,
                    umask: process.status.umask.unwrap_or(0o022),
                });
                new
            })
        };
        let of_process = facts.iter().map(record).collect();
        Self { records, of_process }
    }
}

fn store_pages(
    mappings: &mut [Vec<Mapping>],
    facts: &[ProcessFacts],
    sink: &PageSink,
    progress: &dyn Progress,
) -> Result<u64, Problem> {
    let by_pid: HashMap<Pid, usize> = facts.iter().enumerate().map(|(index, found)| (found.pid, index)).collect();
    let space = |index: usize| {
        let living = facts[index].living.as_ref()?;
        Some(Space { pid: Pid(living.speaker.0), mappings: &mappings[index], found: &living.mappings })
    };
    let mut own = OwnPages::default();
    for (index, found) in facts.iter().enumerate() {
        let parent = by_pid.get(&found.stat.ppid).and_then(|parent| space(*parent));
        if let Some(space) = space(index) {
            own.add(index, space, parent)?;
        }
    }
    let bytes = own.pieces.iter().map(|piece| piece.pages * PAGE as u64).sum();
    // Memory is read through a thread that lives, whatever has become of the leader.
    let speaker = |found: &ProcessFacts| found.living.as_ref().map_or(found.pid, |living| Pid(living.speaker.0));
    let names: Vec<_> = facts.iter().map(|found| ProcessName { pid: speaker(found), ..found.shown.clone() }).collect();
    progress.begins(Phase::Writing, bytes);
    pages::store(&own.pieces, &names, sink, progress, |piece, runs| {
        let mapping = &mut mappings[piece.process][piece.mapping];
        let mut page = (piece.start - mapping.start) / PAGE as u64;
        for (count, first) in runs {
            let source = first.map_or(Source::Zero, Source::Stored);
            push(&mut mapping.pages, Run { page, count, source });
            page += count;
        }
    })?;
    for ((process, mapping), guards) in own.guards {
        mappings[process][mapping].guards = guards;
    }
    for ((process, mapping), runs) in own.inherited {
        let pages = &mut mappings[process][mapping].pages;
        pages.extend(runs);
        pages.sort_by_key(|run| run.page);
    }
    Ok(bytes)
}

/// Adds a run, to the last one where they follow each other in both places.
fn push(runs: &mut Vec<Run>, run: Run) {
    if let Some(last) = runs.last_mut()
        && last.page + last.count == run.page
    {
        let follows = match (last.source, run.source) {
            (Source::Zero, Source::Zero) => true,
            (Source::Stored(first), Source::Stored(next)) => first.0 + last.count == next.0,
            _ => false,
        };
        if follows {
            last.count += run.count;
            return;
        }
    }
    runs.push(run);
}
