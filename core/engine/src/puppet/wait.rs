//! Waiting for a thread that was let run, with a limit: it may be killed or frozen meanwhile, or get no processor, and
//! whoever waits for it holds others still.

use std::time::{Duration, Instant};

use crate::kernel::Errno;
use crate::kernel::ptrace::{self, Event};
use crate::proc::stat::{self, State};
use crate::proc::{self, ProcError};

use super::error::{PuppetError, kernel};
use super::thread::Puppet;

/// Whoever does not run at all is noticed so soon.
const A_MOMENT: Duration = Duration::from_millis(20);

/// Whoever gets on with its work has as much patience again, so many times at most: large memory takes long.
const AGAIN: u32 = 15;

/// How a thread that runs gets on.
enum Course {
    /// It runs, or may again; for so many ticks of the processor until now.
    Ticks(u64),
    Frozen,
    Ended,
}

impl Puppet {
    pub(super) fn let_run(&mut self) -> Result<(), PuppetError> {
        ptrace::resume(self.tid, 0).map_err(kernel("let the thread run"))?;
        self.runs = true;
        Ok(())
    }

    /// To the next entry to or exit from a system call, taking `signal`.
    pub(super) fn let_run_to_call(&mut self, signal: i32) -> Result<(), PuppetError> {
        ptrace::resume_to_syscall(self.tid, signal).map_err(kernel("let the thread run"))?;
        self.runs = true;
        Ok(())
    }

    /// Waits until it stops or ends.
    pub(super) fn wait(&mut self) -> Result<Event, PuppetError> {
        let begin = Instant::now();
        let (mut end, last) = (begin + self.patience, begin + self.patience * AGAIN);
        let (mut frozen, mut done) = (false, None);
        loop {
            match ptrace::wait_until(self.tid, end.min(Instant::now() + A_MOMENT)) {
                Ok(event) => {
                    self.runs = false;
                    return Ok(event);
                }
                Err(Errno::ETIMEDOUT) => {}
                Err(errno) => return Err(kernel("wait for the thread")(errno)),
            }
            let course = self.course();
            match course {
                // The end of a leader is told of only after that of the other threads that are traced.
                Course::Ended => {
                    self.runs = false;
                    return Err(PuppetError::Ended);
                }
                // Whoever was on its way into the trap, or out of it, is not there at the next look.
                Course::Frozen if frozen => return Err(PuppetError::Frozen(self.tid)),
                Course::Ticks(ticks) if done.replace(ticks).is_some_and(|before| before != ticks) => {
                    end = last.min(Instant::now() + self.patience);
                }
                Course::Frozen | Course::Ticks(_) => {}
            }
            frozen = matches!(course, Course::Frozen);
            if Instant::now() >= end {
                return Err(PuppetError::Stuck(self.tid));
            }
        }
    }

    /// Who is frozen sleeps in the kernel's trap for that, of cgroup v2 or v1: nothing that the engine has it do sleeps there.
    fn course(&self) -> Course {
        let stat = match proc::parsed_thread(self.pid, self.tid, "stat", stat::parse) {
            Ok(stat) => stat,
            Err(ProcError::Gone) => return Course::Ended,
            Err(_) => return Course::Ticks(0),
        };
        match stat.state {
            State::Zombie | State::Dead => return Course::Ended,
            State::Sleeping | State::DiskSleep => {
                let place = proc::read_thread(self.pid, self.tid, "wchan").unwrap_or_default();
                if matches!(place.trim_ascii(), b"get_signal" | b"do_freezer_trap" | b"__refrigerator") {
                    return Course::Frozen;
                }
            }
            _ => {}
        }
        Course::Ticks(stat.user_time.saturating_add(stat.system_time))
    }

    /// Whether it was let run, and has not been seen to stop.
    pub fn runs(&self) -> bool {
        self.runs
    }

    /// Sees to it that it stands still, or is gone, whatever it does: who is frozen stops for its tracer all the same.
    /// False: it is not by then.
    pub fn halt(&mut self, end: Instant) -> bool {
        if self.runs && matches!(self.course(), Course::Ended) {
            self.runs = false;
        }
        if self.runs {
            let _ = ptrace::interrupt(self.tid);
            match ptrace::wait_until(self.tid, end) {
                Ok(Event::Signal(signal @ (libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU))) => {
                    self.stop_signals.push(signal);
                    self.runs = false;
                }
                Ok(_) | Err(Errno::ECHILD | Errno::ESRCH) => self.runs = false,
                Err(_) => {}
            }
        }
        !self.runs
    }
}
