//! Threads that were interrupted before: they are on their way into a call that the kernel goes on with
//! (restart_syscall(2)), and nothing tells which one it is until they wait in it. Recorded there, they would come back to a
//! kernel that knows of no such call, and get EINTR.
//!
//! Such a thread goes on, but not one instruction of its program runs: from its stop into the call, and no further than to
//! the call's end.

use std::time::{Duration, Instant};

use dormouse_wire::{Pid, Tid};

use super::stopped::Stopped;
use crate::kernel::ptrace::{self, Event, GeneralRegisters};
use crate::kernel::{Answer, Errno, memory};
use crate::model::RemotePtr;
use crate::puppet::arch::{self, Abi};

/// How often a thread may go on. Whoever waits is known at the first look; something may interrupt it before.
const TRIES: usize = 50;
/// So long it may take to come to wait.
const A_MOMENT: Duration = Duration::from_millis(100);
/// Between two looks.
const PAUSE: Duration = Duration::from_micros(50);
/// More instructions than a batch and the way back from it take.
const STEPS: usize = 1_000_000;

impl Stopped {
    /// Sees to it that the call is known that a stopped thread goes on with. Answers how it has stopped now, `event` where it
    /// did not have to go on. ENODATA: it does not tell its call.
    pub(super) fn learn_the_call(&mut self, pid: Pid, tid: Tid, event: Event) -> Answer<Event> {
        let mut event = event;
        if self.walk_back(pid, tid)? {
            event = self.stop_again(pid, tid)?;
        }
        if event == Event::Interrupted {
            event = self.leave_the_vdso(pid, tid)?;
        }
        for _ in 0..TRIES {
            if !matches!(event, Event::Interrupted | Event::GroupStop(_)) || !self.hides_its_call(tid)? {
                return Ok(event);
            }
            self.waits.forget(tid);
            // To the call, and into it.
            ptrace::resume_to_syscall(tid, 0)?;
            match self.wait_for(pid, tid)? {
                Event::Syscall => {}
                ended @ Event::Ended(_) => return Ok(ended),
                // Who was stopped already obeys our interrupt after that.
                stopped @ (Event::Interrupted | Event::GroupStop(_)) => {
                    event = stopped;
                    continue;
                }
                other => {
                    // Something comes first, and the stop again right behind it.
                    ptrace::interrupt(tid)?;
                    return Ok(other);
                }
            }
            ptrace::resume_to_syscall(tid, 0)?;
            event = self.stop_in_the_call(pid, tid)?;
        }
        Err(Errno::ENODATA)
    }

    /// Lets a thread that has entered its call come to wait there, and stops it, at the latest where the call ends.
    fn stop_in_the_call(&mut self, pid: Pid, tid: Tid) -> Answer<Event> {
        let begin = Instant::now();
        let mut ended = None;
        while ended.is_none() && self.waits.call(tid).is_none() && begin.elapsed() < A_MOMENT {
            std::thread::sleep(PAUSE);
            self.waits.look(pid, tid);
            ended = ptrace::try_wait(tid)?;
        }
        if ended.is_none() {
            ptrace::interrupt(tid)?;
            ended = Some(self.wait_for(pid, tid)?);
        }
        match ended {
            Some(Event::Syscall) => self.stop_again(pid, tid),
            Some(other) => Ok(other),
            None => Err(Errno::ENODATA),
        }
    }

    /// Lets a thread on from a stop that is not one of its own into one that is: it does nothing in between.
    pub(super) fn stop_again(&mut self, pid: Pid, tid: Tid) -> Answer<Event> {
        ptrace::interrupt(tid)?;
        ptrace::resume(tid, 0)?;
        self.wait_for(pid, tid)
    }

    /// Whether the thread stood in the pages of an engine that was killed; then it does not any more.
    fn walk_back(&mut self, pid: Pid, tid: Tid) -> Answer<bool> {
        for step in 0..STEPS {
            if !arch::is_on_its_way_back(tid, &ptrace::general_registers(tid)?) {
                return Ok(step > 0);
            }
            // A signal here is the one that marked the end of the engine's work, or was to stop its process.
            ptrace::step(tid)?;
            if let Event::Ended(_) = self.wait_for(pid, tid)? {
                return Err(Errno::ESRCH);
            }
        }
        Err(Errno::ENODATA)
    }

    fn hides_its_call(&self, tid: Tid) -> Answer<bool> {
        let registers = ptrace::general_registers(tid)?;
        let goes_on = (Abi::of(tid, &registers).restart(), arch::restart::RESTART_RESTARTBLOCK);
        let inside = arch::interrupted_call(&registers) == Some(goes_on) && self.waits.call(tid).is_none();
        Ok(inside || stands_before_restart(tid, &registers))
    }
}

/// Whether the next thing a thread does is restart_syscall(2): the kernel has sent it there, and it has not gone yet.
fn stands_before_restart(tid: Tid, registers: &GeneralRegisters) -> bool {
    let mut next = [0; arch::SYSCALL_INSTRUCTION.len()];
    let sorts = if arch::is_narrow(registers) { &[Abi::Ia32][..] } else { &[Abi::Native, Abi::Ia32][..] };
    let mut sorts = sorts.iter().filter(|abi| registers.rax == abi.restart() as u64).peekable();
    sorts.peek().is_some()
        && memory::read(Pid(tid.0), RemotePtr(registers.rip), &mut next).is_ok()
        && sorts.any(|abi| next == abi.instruction())
}
