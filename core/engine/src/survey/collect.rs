//! What /proc tells of a process.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use dormouse_wire::{Pid, ProcessName, Tid};

use crate::kernel::kcmp::{self, Shared};
use crate::kernel::threads::{beside, each};
use crate::kernel::{memory, procfs};
use crate::model::RemotePtr;
use crate::proc::cgroup::{self, CgroupMembership};
use crate::proc::limits::Limits;
use crate::proc::maps::{DetailedMapping, MappingName};
use crate::proc::stat::{Stat, State};
use crate::proc::status::Status;
use crate::proc::timens::{self, ClockOffsets};
use crate::proc::timers::PosixTimer;
use crate::proc::{self, ProcError, limits, numbers, stat, status, timers};
use crate::puppet::arch::NARROW_END;
use crate::resource::fd::MountsWithin;
use crate::resource::memory::vdso::Sort;
use crate::resource::task::filesystem::Ended;

/// What /proc tells of a process.
#[derive(Debug)]
pub struct ProcessFacts {
    /// Its pid.
    pub pid: Pid,
    /// Its name, for a person.
    pub shown: ProcessName,
    /// proc_pid_stat(5).
    pub stat: Stat,
    /// proc_pid_status(5).
    pub status: Status,
    /// What only a living process has.
    pub living: Option<LivingFacts>,
}

/// What /proc tells of a living process.
#[derive(Debug)]
pub struct LivingFacts {
    /// Its threads, the leader first.
    pub threads: Vec<ThreadFacts>,
    /// A thread that has not exited: through it the process's memory and files can be looked at.
    pub speaker: Tid,
    /// The speaker's own proc_pid_stat(5): it has the addresses that a leader which has exited does not show.
    pub addresses: Stat,
    /// proc_pid_smaps(5).
    pub mappings: Vec<DetailedMapping>,
    /// What sort of program it runs.
    pub sort: Sort,
    /// proc_pid_limits(5).
    pub limits: Limits,
    /// proc_pid_timers(5).
    pub timers: Vec<PosixTimer>,
    /// proc_pid_auxv(5), as it is.
    pub auxiliary: Vec<u8>,
    /// Where /proc/PID/exe leads.
    pub executable: Vec<u8>,
    /// Where /proc/PID/cwd leads.
    pub working_directory: Vec<u8>,
    /// Where /proc/PID/root leads.
    pub root: Vec<u8>,
    /// Whether either is a directory in /proc of a process that has ended.
    pub ended: Ended,
    /// Its namespaces: name and inode.
    pub namespaces: Vec<(&'static str, u64)>,
    /// How far its clocks are ahead, time_namespaces(7).
    pub clock_offsets: ClockOffsets,
    /// Its children would have other clocks than it has itself.
    pub clocks_for_children: bool,
    /// proc_pid_oom_score_adj(5).
    pub oom_score_adjustment: i32,
    /// core(5).
    pub coredump_filter: u32,
    /// Where it is among the control groups, cgroups(7).
    pub control_groups: Vec<CgroupMembership>,
    /// The mounts that it lives among, where those are not those of the others.
    pub mounts: Option<MountsWithin>,
}

/// What /proc tells of a thread.
#[derive(Debug)]
pub struct ThreadFacts {
    /// Its id.
    pub tid: Tid,
    /// Its own proc_pid_status(5).
    pub status: Status,
    /// For a leader that has exited while other threads live.
    pub exited: Option<i32>,
    /// Where it is among the control groups, if not where its process is.
    pub control_groups: Option<Vec<CgroupMembership>>,
    /// What it has for itself that its process has otherwise: setns(2) and unshare(2) act by thread.
    pub strays: Option<Stray>,
}

/// What a thread has for itself alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stray {
    /// A namespace of this kind.
    Namespace(&'static str),
    /// A table of descriptors.
    Files,
    /// Working directory, root and umask.
    Filesystem,
}

/// The namespaces a process is in, namespaces(7), but for that of time: a thaw makes one itself.
pub const NAMESPACES: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

/// Reads all about one process. A process that ends meanwhile is [`ProcError::Gone`].
pub fn process(pid: Pid) -> Result<ProcessFacts, ProcError> {
    let stat = proc::parsed(pid, "stat", stat::parse)?;
    let status = proc::parsed(pid, "status", status::parse)?;
    let shown = ProcessName { pid, comm: String::from_utf8_lossy(&stat.comm).into_owned() };
    let dead = matches!(stat.state, State::Zombie | State::Dead) && stat.threads <= 1;
    let living = if dead { None } else { Some(living(pid, &stat)?) };
    Ok(ProcessFacts { pid, shown, stat, status, living })
}

/// Those that a thread alone can change.
const OF_THREADS: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid_for_children", "time_for_children", "uts"];

/// Where the links to them lead; nothing: there is none.
fn namespaces_of_thread(pid: Pid, tid: Tid) -> Result<Vec<Option<Vec<u8>>>, ProcError> {
    OF_THREADS.iter().map(|name| optional(proc::link_thread(pid, tid, &format!("ns/{name}")))).collect()
}

fn strays((pid, speaker): (Pid, Tid), tid: Tid, homes: &[Option<Vec<u8>>]) -> Result<Option<Stray>, ProcError> {
    for (what, stray) in [(Shared::Files, Stray::Files), (Shared::Filesystem, Stray::Filesystem)] {
        // Whoever is about to end has none any more.
        if kcmp::tasks(speaker, tid, what).is_ok_and(|order| order != Ordering::Equal) {
            return Ok(Some(stray));
        }
    }
    let own = namespaces_of_thread(pid, tid)?;
    if own.iter().all(Option::is_none) {
        return Ok(None);
    }
    let differ = OF_THREADS.into_iter().zip(own.iter().zip(homes)).find(|(_, (own, home))| own != home);
    Ok(differ.map(|(name, _)| Stray::Namespace(name)))
}

/// So many threads are read at the same time as the mappings.
const MANY_THREADS: usize = 64;

fn living(pid: Pid, leader: &Stat) -> Result<LivingFacts, ProcError> {
    let exited = |tid: Tid| (tid.0 == pid.0 && leader.state == State::Zombie).then_some(leader.exit_code);
    let tids = proc::list_threads(pid)?;
    // A leader that has exited shows nothing of its process any more; another thread does.
    let speaker = tids.iter().copied().find(|tid| exited(*tid).is_none()).unwrap_or(pid.leader());
    let control_groups = control_groups(pid, speaker)?;
    let homes = if tids.len() > 1 { namespaces_of_thread(pid, speaker)? } else { Vec::new() };
    let thread = |tid: &Tid| {
        let status = proc::parsed_thread(pid, *tid, "status", status::parse)?;
        // Whoever has exited is nowhere any more.
        let own_place = exited(*tid).is_none() && *tid != speaker;
        let own = own_place.then(|| self::control_groups(pid, *tid)).transpose()?;
        let own = own.filter(|own| *own != control_groups);
        let strays = if own_place { strays((pid, speaker), *tid, &homes)? } else { None };
        Ok(ThreadFacts { tid: *tid, status, exited: exited(*tid), control_groups: own, strays })
    };
    let (mappings, threads) = if tids.len() < MANY_THREADS {
        (proc::detailed_mappings(pid, speaker), tids.iter().map(thread).collect())
    } else {
        beside(|| proc::detailed_mappings(pid, speaker), || each(&tids, thread))
    };
    let mut threads = threads.into_iter().collect::<Result<Vec<_>, ProcError>>()?;
    threads.sort_by_key(|thread| (thread.tid.0 != pid.0, thread.tid));
    let mut namespaces = Vec::new();
    for name in NAMESPACES {
        let link = proc::link_thread(pid, speaker, &format!("ns/{name}"))?;
        namespaces.push((name, proc::ns::parse(&link).map_or(0, |link| link.inode)));
    }
    // A kernel without time namespaces has no such link.
    let time_namespace = |name: &str| optional(proc::link_thread(pid, speaker, &format!("ns/{name}")));
    let (working_directory, root) = (proc::link_thread(pid, speaker, "cwd")?, proc::link_thread(pid, speaker, "root")?);
    let has_ended = |name: &str, link: &[u8]| has_ended(&proc::thread_folder(pid, speaker).join(name), link);
    let mappings = mappings?;
    Ok(LivingFacts {
        addresses: proc::parsed_thread(pid, speaker, "stat", stat::parse)?,
        sort: sort(speaker, &mappings),
        mappings,
        limits: proc::parsed_thread(pid, speaker, "limits", limits::parse)?,
        timers: proc::parsed(pid, "timers", timers::parse)?,
        auxiliary: proc::read_thread(pid, speaker, "auxv")?,
        executable: proc::link_thread(pid, speaker, "exe")?,
        ended: Ended { working_directory: has_ended("cwd", &working_directory), root: has_ended("root", &root) },
        working_directory,
        root,
        namespaces,
        // The file is there for processes; a thread is found as one by its own number.
        clock_offsets: optional(proc::parsed(Pid(speaker.0), "timens_offsets", timens::parse))?.unwrap_or_default(),
        clocks_for_children: time_namespace("time")? != time_namespace("time_for_children")?,
        oom_score_adjustment: proc::parsed_thread(pid, speaker, "oom_score_adj", numbers::oom_score_adj)?,
        coredump_filter: proc::parsed(Pid(speaker.0), "coredump_filter", numbers::coredump_filter)?.unwrap_or(0),
        threads,
        speaker,
        control_groups,
        mounts: None,
    })
}

/// What sort of program a process runs: by its vdso, which the kernel gives to each sort of them, else by the file. One of 64 bits has
/// what the kernel gave it higher up, so that most need not be looked at.
fn sort(speaker: Tid, mappings: &[DetailedMapping]) -> Sort {
    let mut header = [0; Sort::HEADER];
    let read = match mappings.iter().find(|found| found.name == MappingName::Vdso) {
        Some(vdso) if vdso.start >= NARROW_END => return Sort::Native,
        Some(vdso) => memory::read(Pid(speaker.0), RemotePtr(vdso.start), &mut header).is_ok(),
        None if mappings.iter().any(|found| (NARROW_END..KERNEL).contains(&found.start)) => return Sort::Native,
        None => File::open(procfs::path(format!("{speaker}/exe")))
            .is_ok_and(|mut file| file.read_exact(&mut header).is_ok()),
    };
    if read { Sort::of(&header) } else { Sort::Native }
}

/// Addresses of the kernel, the page for vsyscalls among them.
const KERNEL: u64 = 1 << 63;

/// Whether a directory is one in /proc of a process that has ended: another process may have its number meanwhile. The kernel does not call
/// it deleted.
fn has_ended(door: &Path, link: &[u8]) -> bool {
    let Some(rest) = link.strip_prefix(b"/proc/") else { return false };
    if !rest.first().is_some_and(u8::is_ascii_digit) {
        return false;
    }
    let place = |found: std::fs::Metadata| (found.dev(), found.ino());
    let path = Path::new(OsStr::from_bytes(proc::strip_deleted(link).0));
    let (there, here) = (std::fs::metadata(path).map(place), std::fs::metadata(door).map(place));
    here.is_ok_and(|here| !there.is_ok_and(|there| there == here))
}

/// A kernel without control groups has no such file.
fn control_groups(pid: Pid, tid: Tid) -> Result<Vec<CgroupMembership>, ProcError> {
    Ok(optional(proc::parsed_thread(pid, tid, "cgroup", cgroup::parse))?.unwrap_or_default())
}

/// A file that this kernel may not have.
fn optional<T>(found: Result<T, ProcError>) -> Result<Option<T>, ProcError> {
    match found {
        Err(ProcError::Missing { .. }) => Ok(None),
        found => found.map(Some),
    }
}
