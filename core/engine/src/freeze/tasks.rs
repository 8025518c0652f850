//! What each process and thread says of itself, asked in as few stops as can be.

use std::collections::HashMap;

use dormouse_wire::{Pid, Problem, ProblemKind, ProcessName, Tid, phrase};

use super::stopped::StoppedProcess;
use super::waiting::Waits;
use crate::kernel::Errno;
use crate::model::RemotePtr;
use crate::proc;
use crate::proc::maps::{DetailedMapping, MappingName, VmFlags};
use crate::proc::status::Status;
use crate::puppet::arch;
use crate::puppet::kernel;
use crate::puppet::stage::{Stage, find_instruction};
use crate::puppet::{Batch, Call, Foothold, Ground, Puppet, PuppetError, run_together};
use crate::resource::group::Thread;
use crate::resource::memory::vdso::Sort;
use crate::resource::memory::{OwnSegment, Ring, layout, own_segments, policy, protection_keys, ring};
use serde_bytes::ByteBuf;

use crate::resource::task::attributes::{self, ProcessAttributes, ThreadAttributes, Told};
use crate::resource::task::futexes::Futexes;
use crate::resource::task::landlock::{self, Witnesses};
use crate::resource::task::seccomp::{self, Filter, Seccomp};
use crate::resource::task::signals::Disposition;
use crate::resource::task::signals::ThreadSignals;
use crate::resource::task::timers::Timers;
use crate::resource::task::{credentials, futexes, interrupted, legacy, registers, scheduling, signals, stop, timers};
use crate::survey::collect::{LivingFacts, ProcessFacts, ThreadFacts};
use crate::survey::control_group;

/// What the tasks of a process have said.
#[derive(Debug)]
pub struct Answers {
    /// Each thread.
    pub threads: Vec<Thread>,
    /// Dispositions of signals.
    pub dispositions: Vec<Disposition>,
    /// Timers.
    pub timers: Timers,
    /// Small things.
    pub attributes: ProcessAttributes,
    /// Filters that confine its threads.
    pub filters: Vec<Filter>,
    /// What its memory was asked, and the answers.
    pub memory: (AskedMemory, Batch),
    /// Children that were continued, and it could still wait for the news.
    pub continued: Vec<Pid>,
    /// MCL_FUTURE and MCL_ONFAULT.
    pub lock_future: u32,
    /// What they say that stands in the way.
    pub problems: Vec<Problem>,
}

/// What was asked of a process's memory.
#[derive(Debug)]
pub struct AskedMemory {
    /// The end of the heap.
    pub heap: Call,
    /// The protection keys.
    pub keys: protection_keys::Asked,
    /// On which nodes the mappings are put.
    pub policies: Vec<(u64, policy::Asked)>,
    /// Contexts for asynchronous I/O.
    pub rings: Vec<(u64, Call)>,
    /// The same, once they have [settled](super::rings::settle).
    pub settled: Vec<Ring>,
    /// Whether there are segments of its own.
    segments: Call,
    /// The same, once they have been read.
    pub own_segments: Vec<OwnSegment>,
}

struct AskedThread {
    credentials: credentials::Asked,
    signals: signals::AskedThread,
    futexes: futexes::Asked,
    attributes: attributes::AskedThread,
    legacy: legacy::Asked,
    landlock: Option<Call>,
}

fn ask_thread(batch: &mut Batch, witness: Option<Tid>, narrow: bool) -> AskedThread {
    AskedThread {
        credentials: credentials::ask(batch),
        signals: signals::ask_thread(batch),
        futexes: futexes::ask(batch, narrow),
        attributes: attributes::ask_thread(batch),
        legacy: legacy::ask(batch),
        landlock: landlock::ask(witness, batch),
    }
}

/// Asks all tasks of a process.
pub fn ask(
    process: &mut StoppedProcess,
    facts: &ProcessFacts,
    living: &LivingFacts,
    waits: &mut Waits,
    children: &[(Pid, Pid)],
    witnesses: &mut Witnesses,
) -> Result<Answers, Problem> {
    let puppet = |error: PuppetError| unwilling(&error, &facts.shown);
    let by_tid: HashMap<Tid, &ThreadFacts> = living.threads.iter().map(|thread| (thread.tid, thread)).collect();
    lift_confinement(process, &by_tid).map_err(puppet)?;
    let stage = prepare(process, living).map_err(puppet)?.ok_or_else(|| nowhere(&facts.shown))?;
    let (mut batches, mut asked) = (Vec::new(), Vec::new());
    for puppet in &process.puppets {
        let found = by_tid.get(&puppet.tid).ok_or_else(|| gone(&facts.shown))?;
        let mut batch = Batch::new();
        asked.push(ask_thread(&mut batch, witness(witnesses, found, facts)?, is_narrow(living, puppet)));
        batches.push(batch);
    }
    let Some(first) = batches.first_mut() else { return Err(gone(&facts.shown)) };
    let dispositions = signals::ask_dispositions(first);
    let asked_timers = timers::ask(&living.timers, first);
    let asked_process = attributes::ask_process(first);
    let mut asked_memory = ask_memory(living, first);
    let asked_children = stop::ask_continued(children, first);
    run_together(&mut process.puppets, &stage, &mut batches).map_err(puppet)?;

    let kernel = |errno: Errno| {
        Problem::blocks(ProblemKind::Kernel, phrase!("it did not tell all about itself: {why}", why = errno.desc()))
            .of(&facts.shown)
    };
    let processors = scheduling::all_processors().map_err(kernel)?;
    let (mut threads, mut filters, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (index, asked) in asked.iter().enumerate() {
        let found = by_tid.get(&process.puppets[index].tid).ok_or_else(|| gone(&facts.shown))?;
        let said = Said { asked, batch: &batches[index], found, flags: living.addresses.flags };
        let seccomp = seccomp::capture(found.tid, &found.status, &mut filters).map_err(kernel)?;
        threads.push(Thread { seccomp, ..thread(process, index, &said, waits, &processors).map_err(kernel)? });
        problems.extend(legacy::judge(&asked.legacy, said.batch, found.tid));
        problems.extend(landlock::judge(asked.landlock, said.batch));
    }
    if let Some(leader) = living.threads.iter().find(|thread| thread.exited.is_some()) {
        let others = threads.first().cloned().ok_or_else(|| gone(&facts.shown))?;
        threads.insert(0, exited_leader(leader, facts, others));
    }
    let first = batches.swap_remove(0);
    ask_for_more(process, &stage, &first, &mut asked_memory).map_err(puppet)?;
    problems.extend(ring::judge(&asked_memory.rings, &first));
    Ok(Answers {
        continued: stop::answer_continued(&asked_children, &first),
        threads,
        filters,
        dispositions: signals::answer_dispositions(&dispositions, &first).map_err(kernel)?,
        timers: timers::answer(&asked_timers, &living.timers, &first).map_err(kernel)?,
        attributes: attributes::answer_process(&asked_process, &first, told(living)).map_err(kernel)?,
        memory: (asked_memory, first),
        lock_future: lock_future(process, living),
        problems: problems.into_iter().map(|problem| problem.of(&facts.shown)).collect(),
    })
}

/// Asks for what few have, once they have said so; then nobody is asked any more.
fn ask_for_more(
    process: &mut StoppedProcess,
    stage: &Stage,
    said: &Batch,
    memory: &mut AskedMemory,
) -> Result<(), PuppetError> {
    if let Some(leader) = process.puppets.first_mut() {
        memory.own_segments = own_segments::read(memory.segments, said, leader, stage)?;
    }
    leave_confined(process)
}

/// Whether a thread may have what only 32-bit programs register.
fn is_narrow(living: &LivingFacts, puppet: &Puppet) -> bool {
    living.sort == Sort::Ia32 || arch::is_narrow(&puppet.registers)
}

/// Tells those in a pid namespace further in what they are called there.
fn name(process: &mut StoppedProcess, found: &HashMap<Tid, &ThreadFacts>) {
    for puppet in &mut process.puppets {
        let Some(status) = found.get(&puppet.tid).map(|found| &found.status) else { continue };
        if let ([_, .., process], [_, .., thread]) = (&status.namespace_tgid[..], &status.namespace_pid[..]) {
            puppet.is_called(Pid(*process), Tid(*thread));
        }
    }
}

/// The engine works in threads whose system calls are confined, too.
fn lift_confinement(process: &mut StoppedProcess, found: &HashMap<Tid, &ThreadFacts>) -> Result<(), PuppetError> {
    name(process, found);
    let is_confined = |tid: Tid| found.get(&tid).is_some_and(|found| seccomp::is_confined(&found.status));
    for puppet in process.puppets.iter_mut().filter(|puppet| is_confined(puppet.tid)) {
        puppet.lift_confinement(false).map_err(kernel("hold off what confines its system calls"))?;
    }
    Ok(())
}

/// A confined thread stands where it was found as soon as it has answered: should the engine die, it would not be let back
/// from the engine's pages.
pub fn leave_confined(process: &mut StoppedProcess) -> Result<(), PuppetError> {
    process.puppets.iter_mut().filter(|puppet| puppet.is_confined()).try_for_each(Puppet::leave)
}

/// What is said where a process does not do as it is told.
pub fn unwilling(error: &PuppetError, process: &ProcessName) -> Problem {
    let problem = Problem::blocks(ProblemKind::Process, error.said()).of(process);
    match error {
        PuppetError::Frozen(_) | PuppetError::Stuck(_) => {
            let frozen = control_group::none_is_frozen(&[process.pid]).err();
            frozen.unwrap_or_else(|| problem.way_out(phrase!("Try again in a moment")))
        }
        PuppetError::Ended => problem.way_out(phrase!("Try again")),
        _ => problem,
    }
}

fn ask_memory(living: &LivingFacts, batch: &mut Batch) -> AskedMemory {
    let starts = living.mappings.iter().map(|found| found.start);
    AskedMemory {
        heap: layout::ask(batch),
        keys: protection_keys::ask(batch),
        policies: policy::ask_mappings(starts, batch),
        rings: ring::ask(living.mappings.iter(), batch),
        settled: Vec::new(),
        segments: own_segments::ask(batch),
        own_segments: Vec::new(),
    }
}

/// Somebody to look into, for a thread that could not if it were confined.
fn witness(witnesses: &mut Witnesses, found: &ThreadFacts, facts: &ProcessFacts) -> Result<Option<Tid>, Problem> {
    witnesses.of(found.tid, found.status.uid.real, found.status.gid.real).map_err(|errno| {
        let what = phrase!("whether Landlock confines it cannot be found out: {why}", why = errno.desc());
        Problem::blocks(ProblemKind::Privilege, what).of(&facts.shown).way_out(phrase!("Run Dormouse as root"))
    })
}

fn told(living: &LivingFacts) -> Told {
    Told {
        oom_score_adjustment: living.oom_score_adjustment,
        coredump_filter: living.coredump_filter,
        autogroup_nice: attributes::autogroup_nice(Pid(living.speaker.0)),
    }
}

/// What is known of a thread.
struct Said<'a> {
    asked: &'a AskedThread,
    batch: &'a Batch,
    found: &'a ThreadFacts,
    /// Those of `/proc/PID/stat`.
    flags: u32,
}

fn gone(process: &ProcessName) -> Problem {
    Problem::blocks(ProblemKind::Process, phrase!("it changed while it was stopped"))
        .of(process)
        .way_out(phrase!("Try again"))
}

fn nowhere(process: &ProcessName) -> Problem {
    let what = phrase!("no place was found in its memory from which it can make system calls");
    Problem::blocks(ProblemKind::Memory, what).of(process)
}

/// A leader that has exited while other threads live has nothing any more but its id, its name and its exit code; for
/// as long as the thaw needs it, it is like the others.
fn exited_leader(found: &ThreadFacts, facts: &ProcessFacts, others: Thread) -> Thread {
    Thread {
        tid: found.tid,
        inner: found.status.namespace_pid.get(1..).unwrap_or_default().to_vec(),
        exited: found.exited,
        signals: ThreadSignals { mask: found.status.blocked, alternate_stack: (0, SS_DISABLE, 0), pending: Vec::new() },
        futexes: Futexes::default(),
        attributes: ThreadAttributes { name: ByteBuf::from(facts.stat.comm.clone()), ..others.attributes },
        dispatch: None,
        seccomp: Seccomp::Off,
        interrupted: None,
        ..others
    }
}

const SS_DISABLE: u32 = 2;

/// What mlockall(2) has said of mappings to come: it is said of the engine's own pages too.
fn lock_future(process: &StoppedProcess, living: &LivingFacts) -> u32 {
    const MCL_FUTURE: u32 = 2;
    const MCL_ONFAULT: u32 = 4;
    let (Some((stage, _)), speaker) = (process.stage, Pid(living.speaker.0)) else { return 0 };
    let locked = |status: &Status| status.memory.as_ref().map_or(0, |memory| memory.locked);
    let before =
        living.threads.iter().find(|thread| thread.tid == living.speaker).map_or(0, |thread| locked(&thread.status));
    // A quick look first: smaps is slow where memory is large.
    if proc::parsed(speaker, "status", proc::status::parse).map_or(0, |now| locked(&now)) <= before {
        return 0;
    }
    let mappings = proc::detailed_mappings(speaker, living.speaker).unwrap_or_default();
    let own = mappings.iter().find(|mapping| (mapping.start..mapping.end).contains(&stage.base().0));
    let on_fault = own.is_some_and(|mapping| mapping.flags.contains(VmFlags::LOCK_ON_FAULT));
    MCL_FUTURE | if on_fault { MCL_ONFAULT } else { 0 }
}

/// Puts the engine's pages into a process.
fn prepare(process: &mut StoppedProcess, living: &LivingFacts) -> Result<Option<Stage>, PuppetError> {
    let threads = process.puppets.len();
    let Some(first) = process.puppets.first_mut() else { return Ok(None) };
    // The vdso has a `syscall` in every version; a program without one has some in its own code.
    let mut places: Vec<_> = living.mappings.iter().filter(|found| found.execute && found.read).collect();
    places.sort_by_key(|found| found.name != MappingName::Vdso);
    let vdso = places.first().filter(|found| found.name == MappingName::Vdso);
    let foothold = vdso.and_then(|found| Foothold::find(first, RemotePtr(found.start), RemotePtr(found.end)));
    let instruction =
        || places.iter().find_map(|found| find_instruction(first, RemotePtr(found.start), RemotePtr(found.end)));
    let ground = foothold.map(Ground::Foothold).or_else(|| instruction().map(Ground::Instruction));
    let Some(ground) = ground else { return Ok(None) };
    let narrow =
        has_no_high_addresses(living) || process.puppets.iter().any(|puppet| arch::is_narrow(&puppet.registers));
    let place = if narrow {
        let Some(place) = low_place(living, Stage::length(threads)) else { return Ok(None) };
        Some(place)
    } else {
        None
    };
    let Some(first) = process.puppets.first_mut() else { return Ok(None) };
    let stage = Stage::build(first, ground, place, threads)?;
    process.stage = Some((stage, ground));
    Ok(Some(stage))
}

/// Whether all that a process has lies where a 32-bit program could have it. The kernel gives such a program nothing higher up, and does
/// not tell which one it means by that.
fn has_no_high_addresses(living: &LivingFacts) -> bool {
    let mut all = living.mappings.iter().filter(|found| found.name != MappingName::Vsyscall);
    all.all(|found| found.end <= arch::NARROW_END)
}

/// Room among the addresses of a 32-bit program, where the kernel would look for it: as high up as it goes, and where a stack grows to
/// only if there is no other.
fn low_place(living: &LivingFacts, length: u64) -> Option<RemotePtr> {
    const LOWEST: u64 = 1 << 20;
    let low = || living.mappings.iter().filter(|found| found.start < arch::NARROW_END);
    let ends = std::iter::once(LOWEST).chain(low().map(|found| found.end.max(LOWEST)));
    let gaps: Vec<_> = ends.zip(low()).filter(|(end, above)| above.start.saturating_sub(length) >= *end).collect();
    let grows = |above: &DetailedMapping| above.flags.contains(VmFlags::GROWS_DOWN);
    let usual = gaps.iter().rev().find(|(_, above)| !grows(above)).map(|(_, above)| above.start - length);
    usual.or_else(|| gaps.last().map(|(end, _)| *end)).map(RemotePtr)
}

fn thread(
    process: &StoppedProcess,
    index: usize,
    said: &Said<'_>,
    waits: &mut Waits,
    processors: &[u8],
) -> Result<Thread, Errno> {
    let Said { asked, batch, found, flags } = *said;
    let puppet = &process.puppets[index];
    let tid: Tid = puppet.tid;
    let mut general = puppet.registers;
    let interrupted = interrupted::record(Pid(tid.0), &mut general, puppet.abi, waits.waited(tid));
    Ok(Thread {
        tid,
        inner: found.status.namespace_pid.get(1..).unwrap_or_default().to_vec(),
        exited: None,
        registers: registers::capture(tid, &general)?,
        signals: signals::answer_thread(&asked.signals, batch, puppet.mask, process.pending[index].clone())?,
        credentials: credentials::answer(&asked.credentials, batch, &found.status)?,
        scheduling: scheduling::capture(tid, processors)?,
        futexes: futexes::answer(&asked.futexes, batch, tid)?,
        attributes: attributes::answer_thread(&asked.attributes, batch, &found.status.name, flags)?,
        dispatch: puppet.dispatch,
        seccomp: Seccomp::Off,
        interrupted,
        control_groups: Vec::new(),
    })
}
