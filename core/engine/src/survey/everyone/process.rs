//! One process as a survey of everybody sees it, and how it is read.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dormouse_wire::{ByteSize, Pid, ProcessName};
use nix::unistd::{SysconfVar, sysconf};

use crate::kernel::clocks;
use crate::proc::cgroup::{self, CgroupMembership};
use crate::proc::stat::{self, Stat, State};
use crate::proc::{self, ProcError, statm, status};

/// How much of a command line is kept; a process may have megabytes of it.
const MOST_OF_A_COMMAND_LINE: usize = 4096;

/// A process at one moment. `None` is what the caller may not read, or what a zombie has no more.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its pid.
    pub pid: Pid,
    /// Its parent; 0 for none in this pid namespace.
    pub parent: Pid,
    /// Its process group.
    pub process_group: Pid,
    /// Its session; 0 if the leader is outside this pid namespace.
    pub session: Pid,
    /// Its command name.
    pub comm: Vec<u8>,
    /// What it is doing.
    pub state: State,
    /// Whether it is a thread of the kernel.
    pub kernel_thread: bool,
    /// When it started, in clock ticks since boot: with the pid, what tells it from all others.
    pub start_time: u64,
    /// When it started.
    pub started: Option<SystemTime>,
    /// Who started it: its real user id.
    pub uid: Option<u32>,
    /// How many threads it has.
    pub threads: u32,
    /// Its controlling terminal, major and minor device number.
    pub terminal: Option<(u32, u32)>,
    /// The process group in the foreground of that terminal.
    pub foreground: Option<Pid>,
    /// Its command line as [`proc::cmdline`] reads it, at most 4096 bytes.
    pub arguments: Option<Arc<[u8]>>,
    /// The file it runs; ` (deleted)` behind it where that has no name any more.
    pub executable: Option<Arc<[u8]>>,
    /// Its control groups.
    pub cgroups: Option<Arc<Cgroups>>,
    /// How much memory it has; what it shares with others counts fully.
    pub resident: Option<ByteSize>,
    /// How much of it is private: of no file, and shared with nobody but by copy-on-write.
    pub private: Option<ByteSize>,
    /// How much of it is in swap space.
    pub swap: Option<ByteSize>,
    /// How much processor time it has used.
    pub cpu_time: Duration,
    /// What part of one processor it has used since the survey before; more than 1 where several worked for it.
    pub cpu_share: Option<f64>,
    /// Whether it has been stopped by a signal, or frozen with its control group.
    pub paused: bool,
    /// Whether there is something about it that the caller may not read.
    pub hidden: bool,
    /// What changes when it executes another program.
    pub(in crate::survey) program: Program,
}

/// A comm, and where code and arguments lie: nearly no execve(2) leaves all as they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::survey) struct Program {
    comm: Vec<u8>,
    addresses: [u64; 3],
}

/// The control groups of a process, and the text they came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroups {
    /// As /proc/PID/cgroup lists them.
    pub memberships: Vec<CgroupMembership>,
    text: Vec<u8>,
}

impl Cgroups {
    /// Reads the text of /proc/PID/cgroup.
    pub fn parse(text: Vec<u8>) -> Result<Self, proc::Unreadable> {
        Ok(Self { memberships: cgroup::parse(&text)?, text })
    }

    /// The path in cgroup v2.
    pub fn unified(&self) -> Option<&[u8]> {
        self.memberships.iter().find(|membership| membership.is_unified()).map(|membership| membership.path.as_slice())
    }

    /// The path in the hierarchy of cgroup v1 that has a controller, such as `freezer` or `name=systemd`.
    pub fn of_controller(&self, name: &str) -> Option<&[u8]> {
        let has = |membership: &&CgroupMembership| membership.controllers.iter().any(|controller| controller == name);
        self.memberships.iter().find(has).map(|membership| membership.path.as_slice())
    }
}

impl Process {
    /// The process as a person knows it.
    pub fn shown(&self) -> ProcessName {
        ProcessName { pid: self.pid, comm: String::from_utf8_lossy(&self.comm).into_owned() }
    }

    /// A process to try rules on: a child of init in a session of its own.
    #[cfg(test)]
    pub fn sample(pid: i32, arguments: &[&str]) -> Self {
        let line = format!("{pid} (x) S 1 {pid} {pid} 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {pid}{}", " 0".repeat(30));
        let stat = stat::parse(line.as_bytes()).unwrap_or_else(|error| unreachable!("{error}"));
        let mut process = from_stat(Pid(pid), stat, None, &Moment::now(None));
        let name = arguments.first().and_then(|name| name.rsplit('/').next()).unwrap_or_default();
        process.comm = name.bytes().take(15).collect();
        process.executable = Some(format!("/usr/bin/{name}").into_bytes().into());
        process.arguments = Some(arguments.join("\0").into_bytes().into());
        process
    }

    /// Whether it has ended, and waits for its parent to take note.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Zombie | State::Dead)
    }
}

/// When a survey is made: what turns ticks into times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// When the clock ticks of /proc began.
    boot: Option<SystemTime>,
    /// How many of them make a second.
    ticks: u64,
    /// How long ago the survey before was made.
    since: Option<Duration>,
}

impl Moment {
    /// Now, so long after the survey before.
    pub fn now(since: Option<Duration>) -> Self {
        let [_, since_boot, real] = clocks::now().map(|clock| u64::try_from(clock).ok().map(Duration::from_nanos));
        let boot =
            real.zip(since_boot).and_then(|(real, since_boot)| UNIX_EPOCH.checked_add(real)?.checked_sub(since_boot));
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u64::try_from(ticks).ok());
        Self { boot, ticks: ticks.filter(|ticks| *ticks > 0).unwrap_or(100), since }
    }

    fn duration(&self, ticks: u64) -> Duration {
        Duration::from_secs_f64(ticks as f64 / self.ticks as f64)
    }
}

/// When a process started, by the clock on the wall; `None` when it is gone.
pub fn started(pid: Pid) -> Option<SystemTime> {
    let stat = proc::parsed(pid, "stat", stat::parse).ok()?;
    let moment = Moment::now(None);
    moment.boot?.checked_add(moment.duration(stat.start_time))
}

/// Reads a process; `before` is what was known of its pid. `None` when it is gone, or hidden from the caller.
pub(super) fn read(pid: Pid, before: Option<&Process>, moment: &Moment) -> Option<Process> {
    let stat = proc::parsed(pid, "stat", stat::parse).ok()?;
    let before = before.filter(|before| before.start_time == stat.start_time);
    let mut process = from_stat(pid, stat, before, moment);
    if process.kernel_thread {
        process.uid = Some(0);
        return Some(process);
    }
    take(&mut process, |process| details(process, before))?;
    take(&mut process, |process| program(process, before))?;
    Some(process)
}

/// Reads something into a process: `None` where it is gone; what may not be read is noted.
fn take(process: &mut Process, read: impl FnOnce(&mut Process) -> Result<(), ProcError>) -> Option<()> {
    match read(process) {
        Err(ProcError::Gone) => None,
        _ => Some(()),
    }
}

fn from_stat(pid: Pid, stat: Stat, before: Option<&Process>, moment: &Moment) -> Process {
    let cpu_time = moment.duration(stat.user_time.saturating_add(stat.system_time));
    // One that was not there at the survey before has used all its time since.
    let used = cpu_time.saturating_sub(before.map_or(Duration::ZERO, |before| before.cpu_time));
    let share = |since: Duration| (!since.is_zero()).then(|| used.as_secs_f64() / since.as_secs_f64());
    let computed = moment.boot.and_then(|boot| boot.checked_add(moment.duration(stat.start_time)));
    Process {
        pid,
        parent: stat.ppid,
        process_group: stat.pgrp,
        session: stat.session,
        state: stat.state,
        kernel_thread: stat.is_kernel_thread(),
        start_time: stat.start_time,
        // Computed once: the clock on the wall may be set meanwhile.
        started: before.map_or(computed, |before| before.started),
        threads: stat.threads,
        terminal: stat.terminal(),
        foreground: Some(Pid(stat.foreground)).filter(|foreground| foreground.0 > 0),
        uid: None,
        arguments: None,
        executable: None,
        cgroups: None,
        resident: None,
        private: None,
        swap: None,
        hidden: false,
        cpu_time,
        cpu_share: moment.since.and_then(share),
        // Not when its tracer has stopped it: that is the tracer's to end, and under strace(1) it happens all the time.
        paused: stat.state == State::Stopped,
        program: Program { comm: stat.comm.clone(), addresses: [stat.start_code, stat.start_stack, stat.arg_start] },
        comm: stat.comm,
    }
}

/// What changes at any time: user, memory, control groups.
fn details(process: &mut Process, before: Option<&Process>) -> Result<(), ProcError> {
    let pid = process.pid;
    if let Some(status) = allowed(process, proc::parsed(pid, "status", status::parse))? {
        process.uid = Some(status.uid.real);
        let memory = status.memory.unwrap_or_default();
        (process.private, process.swap) = (Some(ByteSize(memory.resident_anonymous)), Some(ByteSize(memory.swap)));
    }
    let statm = allowed(process, proc::parsed(pid, "statm", statm::parse))?;
    process.resident = statm.map(|statm| ByteSize(statm.resident.saturating_mul(crate::kernel::pagemap::PAGE)));
    let text = allowed(process, proc::read(pid, "cgroup"))?;
    process.cgroups = text.and_then(|text| match before.and_then(|before| before.cgroups.as_ref()) {
        Some(known) if known.text == text => Some(Arc::clone(known)),
        _ => Cgroups::parse(text).ok().map(Arc::new),
    });
    Ok(())
}

/// What stays as it is until the process executes another program.
fn program(process: &mut Process, before: Option<&Process>) -> Result<(), ProcError> {
    let pid = process.pid;
    if let Some(before) = before.filter(|before| before.program == process.program && before.arguments.is_some()) {
        process.arguments.clone_from(&before.arguments);
        process.executable.clone_from(&before.executable);
        process.hidden |= before.hidden && before.executable.is_none();
        return Ok(());
    }
    if let Some(mut arguments) = allowed(process, proc::read(pid, "cmdline"))? {
        arguments.truncate(MOST_OF_A_COMMAND_LINE);
        process.arguments = Some(arguments.into());
    }
    process.executable = allowed(process, proc::link(pid, "exe"))?.map(Into::into);
    // What is kept must not be that of another process, which has the pid by now.
    let is_same = proc::parsed(pid, "stat", stat::parse)?.start_time == process.start_time;
    if is_same { Ok(()) } else { Err(ProcError::Gone) }
}

/// What was read, or nothing where that may not be or is not there: only a process that is gone is a failure.
fn allowed<T>(process: &mut Process, read: Result<T, ProcError>) -> Result<Option<T>, ProcError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(ProcError::Gone) => Err(ProcError::Gone),
        Err(error) => {
            process.hidden |= matches!(error, ProcError::Denied { .. });
            tracing::debug!(pid = process.pid.0, %error, "not read");
            Ok(None)
        }
    }
}
