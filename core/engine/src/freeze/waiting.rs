//! Since when threads wait in system calls with a timeout: looked at before they are stopped, for the stop itself makes
//! them run.
//!
//! The scheduler notes when a thread last began to run (`se.exec_start`, Documentation/scheduler/sched-stats.rst); a thread that
//! sleeps has run for a moment then. That clock runs apart on each processor by the time spent in interrupts, so that it
//! is compared with what the engine's own thread reads there.

use std::collections::HashMap;
use std::time::Duration;

use dormouse_wire::{Pid, Tid};

use crate::kernel::{clocks, sched};
use crate::proc::syscall::{self, InSyscall};
use crate::proc::{self, stat};
use crate::puppet::arch::{Abi, NARROW_END};
use crate::resource::task::interrupted::{is_timed, resumed, resumed_ia32};

/// A thread that waits.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// The call, where it is known, by its number for who has made it.
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
        let Ok(InSyscall::Inside { number, arguments, program, .. }) =
            proc::parsed_thread(pid, tid, "syscall", syscall::parse)
        else {
            return;
        };
        // The code of 64-bit programs lies higher up in general, so that most need not be looked at.
        let abi = if program < NARROW_END { Abi::behind(tid, program) } else { Abi::Native };
        let call = if number == abi.restart() {
            let place = proc::read_thread(pid, tid, "wchan").unwrap_or_default();
            match abi {
                Abi::Native => resumed(place.trim_ascii(), arguments[0]),
                Abi::Ia32 => resumed_ia32(Pid(tid.0), place.trim_ascii(), &arguments),
            }
        } else {
            Some(number)
        };
        // Only a call with a timeout is gone on with in that way.
        if number != abi.restart() && !is_timed(abi, number, &arguments) {
            return;
        }
        let began = proc::read_thread(pid, tid, "sched").ok().and_then(|text| proc::sched::exec_start(&text));
        if let Ok(found) = proc::parsed_thread(pid, tid, "stat", stat::parse) {
            self.threads.insert(tid, Waiting { call, processor: found.processor, began });
        }
    }

    /// Forgets what was seen of a thread: it goes on.
    pub fn forget(&mut self, tid: Tid) {
        self.threads.remove(&tid);
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

/// Runs on a processor for a moment to compare its clock with CLOCK_MONOTONIC.
fn offset(processor: i32) -> Option<i64> {
    let _there = sched::Pinned::to(usize::try_from(processor).ok()?).ok()?;
    // To be put aside and taken up again is what makes the scheduler note the time.
    std::thread::sleep(Duration::from_micros(1));
    let [now, ..] = clocks::now();
    let own = std::fs::read("/proc/thread-self/sched").ok()?;
    Some(now - proc::sched::exec_start(&own)? as i64)
}
