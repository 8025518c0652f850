//! A group that stands still: every thread seized and stopped. Dropped, it runs on as if nothing had happened.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use dormouse_wire::{Pid, Problem, ProblemKind, Tid, phrase};
use serde_bytes::ByteBuf;

use super::release::Undo;
use super::turn;
use super::waiting::Waits;
use crate::kernel::ptrace::{self, Event};
use crate::kernel::{Answer, Errno, pidfd};
use crate::proc::stat::{self, State};
use crate::proc::{self, ProcError};
use crate::puppet::{Ground, Puppet, Stage, arch};
use crate::resource::task::{interrupted, seccomp, signals};
use crate::survey::control_group;
use crate::survey::select::named;

/// A group that stands still.
#[derive(Debug, Default)]
pub struct Stopped {
    /// Its processes, zombies too.
    pub processes: Vec<StoppedProcess>,
    /// The threads that are traced.
    pub(super) seized: HashSet<Tid>,
    pub(super) waits: Waits,
    /// By when all must stand still, since the first was told to.
    pub(super) end: Option<Instant>,
    /// Another Dormouse was in the way.
    pub(super) hindered: bool,
}

/// So long a group may take to stand still.
const STANDSTILL: Duration = Duration::from_secs(40);

/// A process all of whose threads are stopped.
#[derive(Debug)]
pub struct StoppedProcess {
    /// Its pid.
    pub pid: Pid,
    /// Its threads, the leader first where it has not exited. None: a zombie.
    pub puppets: Vec<Puppet>,
    /// What waits for each thread, in the same order.
    pub pending: Vec<Vec<ByteBuf>>,
    /// What waits for the process.
    pub shared_pending: Vec<ByteBuf>,
    /// The signal that had stopped it before us.
    pub stopped_by: Option<i32>,
    /// The engine's pages in it, and from where they are removed.
    pub stage: Option<(Stage, Ground)>,
}

impl Stopped {
    /// Stops all that `members` names, again and again, until no new process or thread shows: whoever was running
    /// meanwhile may have made more.
    pub fn stop(&mut self, members: &dyn Fn() -> Result<Vec<Pid>, Problem>) -> Result<(), Problem> {
        let end = *self.end.get_or_insert_with(|| Instant::now() + STANDSTILL);
        let above = turn::tracers();
        loop {
            let pids = members()?;
            let mut fresh = Vec::new();
            for pid in &pids {
                if !self.processes.iter().any(|process| process.pid == *pid) {
                    self.processes.push(StoppedProcess::new(*pid));
                }
                fresh.extend(self.seize(*pid, &above)?);
            }
            if fresh.is_empty() {
                self.let_others_go(&pids);
                self.processes.sort_by_key(|process| pids.iter().position(|pid| *pid == process.pid));
                return self.look();
            }
            if Instant::now() > end {
                return Err(does_not_rest(pids.first().copied()));
            }
            for (pid, tid) in fresh {
                self.wait(pid, tid)?;
            }
        }
    }

    /// Lets those go that are no members any more.
    fn let_others_go(&mut self, members: &[Pid]) {
        let (kept, others) =
            std::mem::take(&mut self.processes).into_iter().partition(|process| members.contains(&process.pid));
        self.processes = kept;
        let mut undo = Undo::default();
        for mut process in others {
            process.release(&mut undo);
            process.puppets.iter().for_each(|puppet| {
                self.seized.remove(&puppet.tid);
            });
        }
    }

    /// Seizes and interrupts the threads of a process that are not seized yet; `above`: the threads that trace us.
    fn seize(&mut self, pid: Pid, above: &[Tid]) -> Result<Vec<(Pid, Tid)>, Problem> {
        let threads = match proc::list_threads(pid) {
            Ok(threads) => threads,
            Err(ProcError::Gone) => return Ok(Vec::new()),
            Err(error) => return Err(Problem::blocks(ProblemKind::Process, error.said()).of(&named(pid))),
        };
        let is_dormouse = turn::is_dormouse(pid);
        let mut fresh = Vec::new();
        for tid in threads {
            if self.seized.contains(&tid) {
                continue;
            }
            if above.contains(&tid) {
                return Err(traces_us(pid));
            }
            self.waits.look(pid, tid);
            match seize(pid, tid) {
                Ok(()) => {}
                Err((Errno::ESRCH, _)) => continue,
                Err(_) if is_dead(pid, tid) => continue,
                Err((errno, tracer)) => return Err(self.refused(pid, errno, tracer)),
            }
            self.seized.insert(tid);
            // Before it is told to stop: of two that are about to stop each other, one sees it at the latest here.
            if is_dormouse && turn::tracers().contains(&tid) {
                self.hindered = true;
                // It was not told to stop, so nobody waits for that: it is let go at the end of this thread.
                self.seized.remove(&tid);
                return Err(turn::held_by(pid).of(&named(pid)));
            }
            if ptrace::interrupt(tid).is_ok() {
                fresh.push((pid, tid));
            }
        }
        Ok(fresh)
    }

    /// Why a process is not seized.
    fn refused(&mut self, pid: Pid, errno: Errno, tracer: Option<Tid>) -> Problem {
        let process = named(pid);
        if let Some(thread) = tracer {
            let tracer = turn::process_of(thread);
            if turn::is_dormouse(tracer) || turn::is_ending(thread) {
                self.hindered = true;
                return turn::held_by(tracer).of(&process);
            }
            let problem = Problem::blocks(ProblemKind::Tracer, phrase!("pid {tracer} traces it already", tracer));
            return problem.of(&process).way_out(phrase!("Let the debugger go first"));
        }
        let problem =
            Problem::blocks(ProblemKind::Privilege, phrase!("it cannot be stopped: {why}", why = errno.desc()));
        problem.of(&process).way_out(phrase!("Run Dormouse as root, or with CAP_SYS_PTRACE and CAP_CHECKPOINT_RESTORE"))
    }

    fn wait(&mut self, pid: Pid, tid: Tid) -> Result<(), Problem> {
        let failed = |errno: Errno| {
            Problem::blocks(
                ProblemKind::Thread,
                phrase!("thread {tid} cannot be stopped: {why}", tid, why = errno.desc()),
            )
            .of(&named(pid))
        };
        if !self.processes.iter().any(|process| process.pid == pid) {
            return Ok(());
        }
        let mut stopped_by = None;
        let mut event = self.wait_for(pid, tid);
        loop {
            if let Ok(stopped @ (Event::Interrupted | Event::GroupStop(_))) = event {
                event = self.learn_the_call(pid, tid, stopped);
            }
            match event {
                // It ended before it could stop.
                Ok(Event::Ended(_)) | Err(Errno::ECHILD | Errno::ESRCH) => {
                    self.seized.remove(&tid);
                    return Ok(());
                }
                Ok(Event::Interrupted) => break,
                Ok(Event::GroupStop(signal)) => {
                    stopped_by = Some(signal);
                    break;
                }
                // It was about to take a signal: let it, it stops right after.
                Ok(Event::Signal(signal)) => ptrace::resume(tid, signal).map_err(failed)?,
                Ok(Event::Syscall | Event::Other(_)) => ptrace::resume(tid, 0).map_err(failed)?,
                Err(Errno::ETIMEDOUT) => return Err(does_not_stop(pid, tid)),
                Err(Errno::ENODATA) => return Err(hides_its_call(pid, tid)),
                Err(errno) => return Err(failed(errno)),
            }
            event = self.wait_for(pid, tid);
        }
        self.take_over(pid, tid, stopped_by)
    }

    /// Takes over a thread that has stopped; `stopped_by`: the signal that had stopped its process before.
    fn take_over(&mut self, pid: Pid, tid: Tid, stopped_by: Option<i32>) -> Result<(), Problem> {
        let failed = |errno: Errno| {
            let what = phrase!("thread {tid} cannot be taken over: {why}", tid, why = errno.desc());
            Problem::blocks(ProblemKind::Thread, what).of(&named(pid))
        };
        let Some(process) = self.processes.iter_mut().find(|process| process.pid == pid) else { return Ok(()) };
        process.stopped_by = stopped_by.or(process.stopped_by);
        let pending = signals::pending(tid, false).map_err(failed)?;
        process.shared_pending = signals::pending(tid, true).map_err(failed)?;
        let waiting = signals::set_of(&pending) | signals::set_of(&process.shared_pending);
        match Puppet::new(pid, tid, waiting) {
            Ok(mut puppet) => {
                // Whoever is about to take a signal was interrupted by that, and not by us.
                if waiting & !puppet.mask == 0 {
                    interrupted::step_back(Pid(tid.0), &mut puppet.registers, puppet.abi, self.waits.waited(tid));
                }
                if let Some(call) = self.waits.call(tid) {
                    interrupted::name(call, &mut puppet.registers, puppet.abi);
                }
                if waiting & !puppet.mask == 0 && seccomp::forbids_restart(tid, &puppet.registers, puppet.abi) {
                    let waited = self.waits.waited(tid);
                    interrupted::forgo_the_rest(Pid(tid.0), &mut puppet.registers, puppet.abi, waited);
                }
                puppet.settle().map_err(failed)?;
                let place = if tid.0 == pid.0 { 0 } else { process.puppets.len() };
                process.puppets.insert(place, puppet);
                process.pending.insert(place, pending);
                Ok(())
            }
            Err(Errno::EBUSY) => Err(has_no_marker(tid).of(&named(pid))),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Reads again what waits for each process and thread: signals may have come between the stop of the first thread
    /// and that of the last.
    fn look(&mut self) -> Result<(), Problem> {
        for process in &mut self.processes {
            let pid = process.pid;
            process.look().map_err(|errno| {
                if let (Errno::EBUSY, Some(first)) = (errno, process.puppets.first()) {
                    return has_no_marker(first.tid).of(&named(pid));
                }
                let what = phrase!("its waiting signals cannot be read: {why}", why = errno.desc());
                Problem::blocks(ProblemKind::Signal, what).of(&named(pid)).way_out(phrase!("Try again in a moment"))
            })?;
        }
        Ok(())
    }

    /// Ends every process, and waits until they are gone or only their own parents hold them. The image is sealed.
    pub fn end(mut self) {
        let processes = std::mem::take(&mut self.processes);
        let handles: Vec<_> = processes.iter().map(|process| (process, pidfd::open(process.pid))).collect();
        for (process, handle) in &handles {
            let sent = handle.as_ref().map(|handle| {
                use std::os::fd::AsFd;
                pidfd::send_signal(handle.as_fd(), libc::SIGKILL)
            });
            if !matches!(sent, Ok(Ok(()))) {
                tracing::warn!(pid = process.pid.0, "could not be ended");
            }
        }
        // Whoever does not end by then is held by a frozen control group, or by a disk, and ends after that.
        let end = Instant::now() + ptrace::PATIENCE;
        let threads = processes.iter().flat_map(|process| &process.puppets).map(|puppet| puppet.tid);
        ptrace::wait_for_ends(threads, end);
    }
}

impl Stopped {
    /// The processes, and since when their threads wait.
    pub fn parts(&mut self) -> (&mut [StoppedProcess], &mut Waits) {
        (&mut self.processes, &mut self.waits)
    }
}

impl StoppedProcess {
    fn new(pid: Pid) -> Self {
        Self {
            pid,
            puppets: Vec::new(),
            pending: Vec::new(),
            shared_pending: Vec::new(),
            stopped_by: None,
            stage: None,
        }
    }

    fn look(&mut self) -> Answer<()> {
        let Some(first) = self.puppets.first() else { return Ok(()) };
        self.shared_pending = signals::pending(first.tid, true)?;
        let shared = signals::set_of(&self.shared_pending);
        let narrow = self.puppets.iter().any(|puppet| arch::is_narrow(&puppet.registers));
        // A handler of a 32-bit program does not keep the registers that the engine has to itself in such a program.
        let caught = || proc::parsed(self.pid, "status", proc::status::parse).map_or(0, |status| status.caught);
        let caught = if narrow { caught() } else { 0 };
        for (puppet, pending) in self.puppets.iter_mut().zip(&mut self.pending) {
            *pending = signals::pending(puppet.tid, false)?;
            let waiting = shared | signals::set_of(pending);
            puppet.avoid(waiting | caught).or_else(|_| puppet.avoid(waiting))?;
        }
        Ok(())
    }
}

/// Answers who traces it where that is the reason why not. Whoever has traced it until now may be letting it go just then.
fn seize(pid: Pid, tid: Tid) -> Result<(), (Errno, Option<Tid>)> {
    const TRIES: usize = 20;
    for _ in 0..TRIES {
        match ptrace::seize(tid, ptrace::Options::default()) {
            Ok(()) => return Ok(()),
            Err(Errno::EPERM) if !is_dead(pid, tid) => match tracer(pid, tid) {
                Some(tracer) => return Err((Errno::EPERM, Some(tracer))),
                None => std::thread::sleep(Duration::from_millis(1)),
            },
            Err(errno) => return Err((errno, None)),
        }
    }
    Err((Errno::EPERM, None))
}

fn tracer(pid: Pid, tid: Tid) -> Option<Tid> {
    proc::parsed_thread(pid, tid, "status", proc::status::parse).ok()?.tracer
}

fn does_not_stop(pid: Pid, tid: Tid) -> Problem {
    if let Err(frozen) = control_group::none_is_frozen(&[pid]) {
        return frozen;
    }
    let what = phrase!(
        "thread {tid} does not stop: it waits for a disk, a server or a child, and hears nothing meanwhile",
        tid
    );
    Problem::blocks(ProblemKind::Thread, what).of(&named(pid)).way_out(phrase!("Try again in a moment"))
}

fn does_not_rest(first: Option<Pid>) -> Problem {
    let what = phrase!(
        "it has not come to rest for {seconds} s: new processes and threads show all the time",
        seconds = STANDSTILL.as_secs()
    );
    let problem =
        Problem::blocks(ProblemKind::Process, what).way_out(phrase!("Try again when it does less, or pause it first"));
    first.map_or(problem.clone(), |pid| problem.of(&named(pid)))
}

fn traces_us(pid: Pid) -> Problem {
    let what = phrase!("it traces this very Dormouse, which could not go on while it stands still");
    Problem::blocks(ProblemKind::Tracer, what).of(&named(pid)).way_out(phrase!("Run Dormouse without it"))
}

fn hides_its_call(pid: Pid, tid: Tid) -> Problem {
    let what =
        phrase!("thread {tid} goes on with a system call that was interrupted, and does not come to wait in it", tid);
    Problem::blocks(ProblemKind::Thread, what).of(&named(pid)).way_out(phrase!("Try again in a moment"))
}

fn has_no_marker(tid: Tid) -> Problem {
    let what = phrase!("every signal that can mark the end of Dormouse's work waits for thread {tid} already", tid);
    Problem::blocks(ProblemKind::Signal, what)
        .way_out(phrase!("Let the program take SIGURG, SIGWINCH or SIGCHLD first"))
}

fn is_dead(pid: Pid, tid: Tid) -> bool {
    match proc::parsed_thread(pid, tid, "stat", stat::parse) {
        Ok(found) => matches!(found.state, State::Zombie | State::Dead),
        Err(_) => true,
    }
}
