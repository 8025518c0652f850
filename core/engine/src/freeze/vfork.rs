//! Who stands in vfork(2), or in a clone(2) like it, cannot be stopped before its child has let go of the memory they
//! share. A child that was stopped before it could is let go for so long: the next round catches it again.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use dormouse_wire::{Pid, Tid};

use super::release::Undo;
use super::stopped::Stopped;
use crate::kernel::kcmp::{self, Shared};
use crate::kernel::ptrace::{self, Event};
use crate::kernel::{Answer, Errno};
use crate::proc::stat::{self, State};
use crate::proc::{self, ProcError};
use crate::survey::control_group;

/// Who does not stop for so long may have been frozen.
const LONG: Duration = Duration::from_secs(1);
/// Who can stop has done so by then.
const SOON: Duration = Duration::from_millis(2);
/// Between two looks at a thread that takes longer than a moment.
const PAUSE: Duration = Duration::from_micros(200);

impl Stopped {
    /// Waits until a thread stops or ends. ETIMEDOUT: it does not.
    pub fn wait_for(&mut self, pid: Pid, tid: Tid) -> Answer<Event> {
        let begin = Instant::now();
        let mut look = LONG;
        loop {
            if let Some(event) = ptrace::try_wait(tid)? {
                return Ok(event);
            }
            let waited = begin.elapsed();
            if waited > ptrace::PATIENCE || self.end.is_some_and(|end| Instant::now() > end) {
                return Err(Errno::ETIMEDOUT);
            }
            if waited > SOON {
                match state(pid, tid) {
                    Some(State::DiskSleep) => self.let_children_go(pid, tid),
                    // The end of a leader is told of only after that of the other threads that are traced.
                    Some(State::Zombie | State::Dead) | None => return Ok(Event::Ended(0)),
                    Some(_) => {}
                }
            }
            if waited > look {
                if control_group::none_is_frozen(&[pid]).is_err() {
                    return Err(Errno::ETIMEDOUT);
                }
                look += LONG;
            }
            if waited > PAUSE {
                std::thread::sleep(PAUSE);
            } else {
                std::thread::yield_now();
            }
        }
    }

    /// Lets those processes go that share the memory of a thread of another.
    fn let_children_go(&mut self, pid: Pid, tid: Tid) {
        let shares = |other: Pid| kcmp::tasks(other.leader(), tid, Shared::Memory) == Ok(Ordering::Equal);
        let others: Vec<Pid> = self.processes.iter().map(|process| process.pid).filter(|other| *other != pid).collect();
        for child in others.into_iter().filter(|other| shares(*other)) {
            self.let_go(child);
        }
    }

    /// Lets the threads of a process go that stand still, and forgets them.
    fn let_go(&mut self, pid: Pid) {
        let looked_at = self.processes.iter().position(|process| process.pid == pid && !process.puppets.is_empty());
        if let Some(place) = looked_at {
            let mut process = self.processes.remove(place);
            process.release(&mut Undo::default());
            for puppet in &process.puppets {
                self.seized.remove(&puppet.tid);
            }
        }
        let mut threads = proc::list_threads(pid).unwrap_or_default();
        threads.retain(|tid| self.seized.contains(tid));
        for tid in threads {
            let signal = match ptrace::try_wait(tid) {
                Ok(Some(Event::Signal(signal))) => signal,
                Ok(Some(_)) => 0,
                // It may stand in vfork(2) too, and lets go when its own child has.
                _ => continue,
            };
            let _ = ptrace::detach(tid, signal);
            self.seized.remove(&tid);
        }
    }
}

/// None: it is gone.
fn state(pid: Pid, tid: Tid) -> Option<State> {
    match proc::parsed_thread(pid, tid, "stat", stat::parse) {
        Ok(found) => Some(found.state),
        Err(ProcError::Gone) => None,
        Err(_) => Some(State::Other(0)),
    }
}
