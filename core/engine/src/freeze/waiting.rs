//! Since when threads wait in system calls with a timeout: looked at before they are stopped, for the stop itself makes
//! them run.
//!
//! The scheduler notes when a thread last began to run (`se.exec_start`, Documentation/scheduler/sched-stats.rst); a thread that
//! sleeps has run for a moment then. That clock runs apart on each processor by the time spent in interrupts, so that it
//! is compared with what the engine's own thread reads there.

use std::collections::HashMap;
use std::time::Duration;

use dormouse_wire::{Pid, Tid};

use super::stopped::Stopped;
use crate::kernel::ptrace::{self, Event, GeneralRegisters};
use crate::kernel::{Answer, Errno, clocks, memory, sched};
use crate::model::RemotePtr;
use crate::proc::syscall::{self, InSyscall};
use crate::proc::{self, stat};
use crate::puppet::arch;
use crate::resource::task::interrupted::{is_timed, resumed};

/// A thread that waits.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// The call, where it is known.
    call: Option<i64>,
    processor: i32,
    began: Option<u64>,
}

/// Threads that wait, by id.
#[derive(Debug, Default)]
pub struct Waits {
    threads: HashMap<Tid, Waiting>,
    /// By processor: what is to be added to its scheduler clock for CLOCK_MONOTONIC, nanoseconds.
    offsets: HashMap<i32, Option<i64>>,
}

impl Waits {
    /// Looks at a thread that still runs.
    pub fn look(&mut self, pid: Pid, tid: Tid) {
        let Ok(InSyscall::Inside { number, arguments, .. }) = proc::parsed_thread(pid, tid, "syscall", syscall::parse)
        else {
            return;
        };
        let call = if number == libc::SYS_restart_syscall {
            let place = proc::read_thread(pid, tid, "wchan").unwrap_or_default();
            resumed(place.trim_ascii(), arguments[0])
        } else {
            Some(number)
        };
        // Only a call with a timeout is gone on with in that way.
        if number != libc::SYS_restart_syscall && !is_timed(number, &arguments) {
            return;
        }
        let began = proc::read_thread(pid, tid, "sched").ok().and_then(|text| proc::sched::exec_start(&text));
        if let Ok(found) = proc::parsed_thread(pid, tid, "stat", stat::parse) {
            self.threads.insert(tid, Waiting { call, processor: found.processor, began });
        }
    }

    /// Lets a thread come to wait, or to do something else, for a moment.
    fn await_wait(&mut self, pid: Pid, tid: Tid) {
        let mut pause = Duration::from_micros(50);
        while self.call(tid).is_none() && pause < A_MOMENT {
            std::thread::sleep(pause);
            pause *= 2;
            self.look(pid, tid);
        }
    }

    /// The call that a thread was in before it was stopped: restart_syscall(2) hides it.
    pub fn call(&self, tid: Tid) -> Option<i64> {
        self.threads.get(&tid)?.call
    }

    /// For how many nanoseconds a thread has waited; 0: it has only just begun, or the kernel does not tell. Then its
    /// timeout begins anew: it ends later than it would have, and never too early.
    pub fn waited(&mut self, tid: Tid) -> u64 {
        let Some(waiting @ Waiting { began: Some(began), .. }) = self.threads.get(&tid).copied() else { return 0 };
        let offset = *self.offsets.entry(waiting.processor).or_insert_with(|| offset(waiting.processor));
        let Some(offset) = offset else { return 0 };
        let [now, ..] = clocks::now();
        u64::try_from(now - (began as i64 + offset)).unwrap_or(0)
    }
}

/// How often a thread is let on until it waits again, and for how long each time: a minute on a busy processor.
const TRIES: u32 = 600;
const A_MOMENT: Duration = Duration::from_millis(100);

impl Stopped {
    /// Sees to it that the call is known that a stopped thread goes on with. One that was stopped before it waited, on its
    /// way into restart_syscall(2), does not tell; nor does one that still finds its way back from a freeze that was
    /// killed. It may go on until it waits, and is stopped there: elsewhere restart_syscall(2) would answer EINTR.
    pub(super) fn learn_the_call(&mut self, pid: Pid, tid: Tid) -> Answer<Event> {
        for _ in 0..TRIES {
            if !self.hides_its_call(tid)? {
                return Ok(Event::Interrupted);
            }
            ptrace::resume(tid, 0)?;
            self.waits.await_wait(pid, tid);
            ptrace::interrupt(tid)?;
            match self.wait_for(pid, tid)? {
                Event::Interrupted => {}
                other => return Ok(other),
            }
        }
        Err(Errno::ETIMEDOUT)
    }

    fn hides_its_call(&self, tid: Tid) -> Answer<bool> {
        let registers = ptrace::general_registers(tid)?;
        let goes_on = (libc::SYS_restart_syscall, arch::restart::RESTART_RESTARTBLOCK);
        let inside = arch::interrupted_call(&registers) == Some(goes_on) && self.waits.call(tid).is_none();
        Ok(inside || stands_before_restart(tid, &registers) || arch::is_on_its_way_back(tid, &registers))
    }
}

/// Whether the next thing a thread does is restart_syscall(2): the kernel has sent it there, and it has not gone yet.
fn stands_before_restart(tid: Tid, registers: &GeneralRegisters) -> bool {
    let mut next = [0; arch::SYSCALL_INSTRUCTION.len()];
    registers.rax == libc::SYS_restart_syscall as u64
        && memory::read(Pid(tid.0), RemotePtr(registers.rip), &mut next).is_ok()
        && next == arch::SYSCALL_INSTRUCTION
}

/// Runs on a processor for a moment to compare its clock with CLOCK_MONOTONIC.
fn offset(processor: i32) -> Option<i64> {
    let _there = sched::Pinned::to(usize::try_from(processor).ok()?).ok()?;
    // To be put aside and taken up again is what makes the scheduler note the time.
    std::thread::sleep(Duration::from_micros(1));
    let [now, ..] = clocks::now();
    let own = std::fs::read("/proc/thread-self/sched").ok()?;
    Some(now - proc::sched::exec_start(&own)? as i64)
}
