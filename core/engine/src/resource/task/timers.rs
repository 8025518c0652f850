//! Timers of a process: interval timers, setitimer(2), alarm(2) among them; POSIX timers, timer_create(2), with their
//! ids. What is left of each is kept; it goes on from the thaw.

// zoo: posix_timers

use serde::{Deserialize, Serialize};

use crate::arguments;
use crate::kernel::Answer;
use crate::proc::timers::{Notify, NotifyTarget, PosixTimer};
use crate::puppet::{Batch, Call, Slot};

/// All timers of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timers {
    /// ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF: interval and rest, each seconds and microseconds.
    pub intervals: Vec<[u64; 4]>,
    /// POSIX timers by id.
    pub posix: Vec<Posix>,
}

impl Timers {
    /// Whether one of them wakes a machine that sleeps, which wants CAP_WAKE_ALARM.
    pub fn wake_the_machine(&self) -> bool {
        self.posix.iter().any(|timer| wakes_the_machine(timer.clock))
    }
}

/// Whether a timer on this clock wakes a machine that sleeps.
pub fn wakes_the_machine(clock: i32) -> bool {
    [libc::CLOCK_REALTIME_ALARM, libc::CLOCK_BOOTTIME_ALARM].contains(&clock)
}

/// A POSIX timer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posix {
    /// Its kernel id.
    pub id: i32,
    /// Its clock.
    pub clock: i32,
    /// SIGEV_*.
    pub notify: i32,
    /// The signal it sends.
    pub signal: i32,
    /// The value that comes with it.
    pub value: u64,
    /// The thread it goes to, for SIGEV_THREAD_ID.
    pub thread: i32,
    /// Interval and rest, each seconds and nanoseconds.
    pub times: [u64; 4],
}

/// What was asked.
#[derive(Debug)]
pub struct Asked {
    intervals: Vec<(Call, Slot)>,
    posix: Vec<(Call, Slot)>,
}

/// Asks for what is left of each; `known` comes from proc_pid_timers(5).
pub fn ask(known: &[PosixTimer], batch: &mut Batch) -> Asked {
    let mut asked = Asked { intervals: Vec::new(), posix: Vec::new() };
    for which in 0..3 {
        let times = batch.space(32);
        asked.intervals.push((batch.ask(libc::SYS_getitimer, arguments![which, times]), times));
    }
    for timer in known {
        let times = batch.space(32);
        asked.posix.push((batch.ask(libc::SYS_timer_gettime, arguments![timer.id, times]), times));
    }
    asked
}

fn times(batch: &Batch, slot: Slot) -> [u64; 4] {
    [0, 8, 16, 24].map(|at| batch.read_u64(slot, at))
}

/// The record.
pub fn answer(asked: &Asked, known: &[PosixTimer], batch: &Batch) -> Answer<Timers> {
    let mut timers = Timers::default();
    for (call, slot) in &asked.intervals {
        batch.result(*call)?;
        timers.intervals.push(times(batch, *slot));
    }
    for (timer, (call, slot)) in known.iter().zip(&asked.posix) {
        batch.result(*call)?;
        let (notify, thread) = match (&timer.notify, &timer.target) {
            (Notify::Signal, NotifyTarget::Thread(thread)) => (libc::SIGEV_THREAD_ID, *thread),
            (Notify::Signal, _) => (libc::SIGEV_SIGNAL, 0),
            (Notify::Thread, _) => (libc::SIGEV_THREAD, 0),
            _ => (libc::SIGEV_NONE, 0),
        };
        timers.posix.push(Posix {
            id: timer.id,
            clock: timer.clock,
            notify,
            signal: timer.signal,
            value: timer.value,
            thread,
            times: times(batch, *slot),
        });
    }
    timers.posix.sort_by_key(|timer| timer.id);
    Ok(timers)
}

const PR_TIMER_CREATE_RESTORE_IDS: i32 = 77;

/// Makes the POSIX timers, unarmed. `restore_ids`: the kernel lets ids be chosen (Linux 6.15); else timers are made and
/// deleted until the next one has the wanted id.
pub fn create(record: &Timers, restore_ids: bool, batch: &mut Batch) {
    if record.posix.is_empty() {
        return;
    }
    let choose = |batch: &mut Batch, on: i32| {
        batch.must(
            "choose the ids of POSIX timers",
            libc::SYS_prctl,
            arguments![PR_TIMER_CREATE_RESTORE_IDS, on, 0, 0, 0],
        );
    };
    if restore_ids {
        choose(batch, 1);
    }
    let mut next = 0;
    for timer in &record.posix {
        let event = batch.bytes(&event_bytes(timer));
        while !restore_ids && next < timer.id {
            let throwaway = batch.space(8);
            batch.must("make a POSIX timer", libc::SYS_timer_create, arguments![timer.clock, event, throwaway]);
            batch.must("delete a POSIX timer", libc::SYS_timer_delete, arguments![next]);
            next += 1;
        }
        let id = batch.bytes(&i64::from(timer.id).to_ne_bytes());
        batch.must("make a POSIX timer", libc::SYS_timer_create, arguments![timer.clock, event, id]);
        next = timer.id + 1;
    }
    if restore_ids {
        choose(batch, 0);
    }
}

/// `struct sigevent`: value, signal, notify, thread id.
fn event_bytes(timer: &Posix) -> Vec<u8> {
    let mut event = Vec::with_capacity(64);
    event.extend(timer.value.to_ne_bytes());
    event.extend(timer.signal.to_ne_bytes());
    event.extend(timer.notify.to_ne_bytes());
    event.extend(timer.thread.to_ne_bytes());
    event.resize(64, 0);
    event
}

/// Starts all of them.
///
/// `fired`: ids of timers whose signal waited at the freeze. They fire at once, so that the kernel makes that signal
/// itself and goes on counting overruns, timer_getoverrun(2).
pub fn arm(record: &Timers, fired: &[i32], batch: &mut Batch) {
    let bytes = |times: &[u64; 4]| times.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
    for timer in &record.posix {
        let mut times = timer.times;
        if fired.contains(&timer.id) {
            [times[2], times[3]] = [0, 1];
        }
        if times == [0; 4] {
            continue;
        }
        let times = batch.bytes(&bytes(&times));
        batch.must("start a POSIX timer", libc::SYS_timer_settime, arguments![timer.id, 0, times, 0]);
    }
    for (which, interval) in record.intervals.iter().enumerate().filter(|(_, interval)| **interval != [0; 4]) {
        let mut times = *interval;
        // It had expired, and its signal had not been taken: the kernel starts it anew when that is, and would forget a timer
        // of which nothing is left.
        if times[2..] == [0, 0] {
            times[3] = 1;
        }
        let times = batch.bytes(&bytes(&times));
        batch.must("start an interval timer", libc::SYS_setitimer, arguments![which, times, 0]);
    }
}

#[cfg(test)]
mod tests {
    use super::wakes_the_machine;

    #[test]
    fn only_alarm_clocks_wake_the_machine() {
        let all = [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME, libc::CLOCK_TAI, -6];
        assert!(all.into_iter().all(|clock| !wakes_the_machine(clock)));
        assert!(wakes_the_machine(libc::CLOCK_REALTIME_ALARM) && wakes_the_machine(libc::CLOCK_BOOTTIME_ALARM));
    }
}
