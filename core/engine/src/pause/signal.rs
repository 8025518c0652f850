//! SIGSTOP and SIGCONT, where no control group fits.
//!
//! # The order
//!
//! A process that waits for its children, such as a shell, is told when one of them stops: it would say "Stopped", and take the
//! terminal back. So parents are stopped before their children, each child only when its parent stands still. At the
//! resume children go on before their parents: a parent that runs again finds that its children run, for the news of a stop
//! is gone once the child has been continued.
//!
//! A stopped process makes no children, so that this comes to an end even while all of them fork: when a listing shows
//! nobody who still runs, nobody is left.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, phrase};

use super::record::{Record, Remembered};
use super::standing::{self, Standing};
use crate::kernel::{Answer, Errno, pidfd};
use crate::survey::select::named;

/// How long all of them together may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one that waits in the kernel gets to come out of there.
const A_WHILE: Duration = Duration::from_secs(1);
const GLANCE: Duration = Duration::from_micros(100);

/// Stops all members that run. When that fails they go on.
pub fn stop(pid: Pid, members: &dyn Fn() -> Result<Vec<Pid>, Problem>, folder: &Path) -> Result<(), Problem> {
    let group = Remembered::of(pid).ok_or_else(|| {
        let problem =
            Problem::blocks(ProblemKind::Process, phrase!("it has ended meanwhile")).at(phrase!("pid {pid}", pid));
        problem.way_out(phrase!("Look for it with `ps -e`"))
    })?;
    let mut stopping = Stopping { record: Record::of(folder, group), told: Vec::new() };
    stopping.stop(members).inspect_err(|_| stopping.undo())
}

struct Stopping {
    record: Record,
    /// Those that have been sent SIGSTOP.
    told: Vec<Remembered>,
}

impl Stopping {
    fn stop(&mut self, members: &dyn Fn() -> Result<Vec<Pid>, Problem>) -> Result<(), Problem> {
        let begin = Instant::now();
        loop {
            let fresh = self.running(&members()?);
            let late = self.told.iter().find(|one| !has_settled(**one, begin));
            match late {
                None if fresh.is_empty() => return Ok(()),
                Some(late) if begin.elapsed() > PATIENCE => return Err(does_not_stop(late.pid)),
                _ if begin.elapsed() > 3 * PATIENCE => return Err(does_not_stop(self.record.group.pid)),
                _ if fresh.is_empty() => thread::sleep(10 * GLANCE),
                _ => self.tell(fresh)?,
            }
        }
    }

    /// Those that run and have not been told to stop.
    fn running(&self, pids: &[Pid]) -> Vec<Remembered> {
        let told: HashSet<Pid> = self.told.iter().map(|one| one.pid).collect();
        let fresh = pids.iter().filter(|pid| !told.contains(pid));
        let running = fresh.filter(|pid| matches!(standing::of(**pid), Standing::Runs | Standing::Waits));
        running.filter_map(|pid| Remembered::of(*pid)).collect()
    }

    fn tell(&mut self, fresh: Vec<Remembered>) -> Result<(), Problem> {
        self.record.stopped.retain(|one| !fresh.contains(one));
        self.record.stopped.extend(&fresh);
        self.record.keep()?;
        for one in fresh {
            send(one, libc::SIGSTOP).map_err(|errno| refused(one.pid, phrase!("stopped"), errno))?;
            self.told.push(one);
            let begin = Instant::now();
            while standing::of(one.pid) == Standing::Runs && begin.elapsed() < A_WHILE {
                thread::sleep(GLANCE);
            }
        }
        Ok(())
    }

    fn undo(&mut self) {
        for one in self.told.iter().rev() {
            if let Err(errno) = send(*one, libc::SIGCONT) {
                tracing::warn!(pid = one.pid.0, errno = errno.desc(), "a process stays stopped");
            }
        }
        self.record.stopped.retain(|one| one.is_there() && standing::of(one.pid).is_still());
        if let Err(problem) = self.record.keep() {
            tracing::warn!(%problem, "a record stays");
        }
    }
}

/// Whether it stands still for good. Who waits in the kernel with SIGSTOP before it runs no code of the program either.
fn has_settled(one: Remembered, begin: Instant) -> bool {
    match standing::of(one.pid) {
        Standing::Stopped | Standing::Ended => true,
        Standing::Waits => begin.elapsed() > A_WHILE,
        Standing::Runs => false,
    }
}

/// Those that a pause of this process has stopped and that are no descendants of it any more, because a parent
/// between has ended.
pub fn orphans(records: &[Record], pid: Pid, members: &[Pid]) -> Vec<Pid> {
    // Where another process has the pid now, the record is not about that one.
    let of_group = records.iter().filter(|record| record.group.pid == pid);
    let of_group = of_group.filter(|record| members.is_empty() || record.group.is_there());
    let stopped = of_group.flat_map(|record| &record.stopped).map(|one| one.pid);
    stopped.filter(|pid| !members.contains(pid) && standing::of(*pid).is_still()).collect()
}

/// Continues those of `held`, which has each after its parent, that the records name. Whether there were any.
pub fn go_on(held: &[Pid], records: Vec<Record>) -> Result<bool, Problem> {
    let named: Vec<Remembered> = records.iter().flat_map(|record| record.stopped.iter().copied()).collect();
    let mut continued = HashSet::new();
    let mut failed = None;
    for pid in held.iter().rev() {
        let Some(one) = named.iter().find(|one| one.pid == *pid) else { continue };
        match send(*one, libc::SIGCONT) {
            Ok(()) => _ = continued.insert(*one),
            Err(errno) => failed = Some(refused(*pid, phrase!("continued"), errno)),
        }
    }
    for mut record in records {
        let before = record.stopped.len();
        record.stopped.retain(|one| !continued.contains(one));
        if record.stopped.len() < before {
            record.keep()?;
        }
    }
    failed.map_or(Ok(!continued.is_empty()), Err)
}

/// Sends a signal to this process, and to no later one with its pid. One that has ended needs none.
fn send(one: Remembered, signal: i32) -> Answer<()> {
    let handle = match pidfd::open(one.pid) {
        Ok(handle) if one.is_there() => handle,
        Ok(_) | Err(Errno::ESRCH) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    match pidfd::send_signal(handle.as_fd(), signal) {
        Err(Errno::ESRCH) => Ok(()),
        answer => answer,
    }
}

fn refused(pid: Pid, what: Phrase, errno: Errno) -> Problem {
    let problem =
        Problem::blocks(ProblemKind::Privilege, phrase!("it cannot be {what}: {why}", what, why = errno.desc()));
    problem.of(&named(pid)).way_out(phrase!("Run Dormouse as root, or as the user whose process it is"))
}

fn does_not_stop(pid: Pid) -> Problem {
    let what = phrase!("it does not stop: something else continues it, or it keeps the kernel busy");
    Problem::blocks(ProblemKind::Process, what).of(&named(pid)).way_out(phrase!("Try again in a moment"))
}
