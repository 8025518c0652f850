//! POSIX timers: ids with gaps, every clock and way to tell, what is left, intervals, overruns.

use std::io;
use std::sync::atomic::Ordering;

use crate::kernel::{self, at, call, into, tid};
use crate::signals::{COUNT, LAST, VALUE, bit, block, count, handle};
use crate::stage::{Held, Stage};

const SIGEV_SIGNAL: i32 = 0;
const SIGEV_NONE: i32 = 1;
const SIGEV_THREAD_ID: i32 = 4;

/// `struct sigevent` of the kernel: value, signal, kind, thread.
#[repr(C)]
struct Event {
    value: u64,
    signal: i32,
    kind: i32,
    thread: i32,
    rest: [i32; 11],
}

fn create(clock: i32, kind: i32, signal: i32, value: u64) -> io::Result<i32> {
    let event = Event { value, signal, kind, thread: if kind == SIGEV_THREAD_ID { tid() } else { 0 }, rest: [0; 11] };
    let mut id = -1_i32;
    call(libc::SYS_timer_create, &[clock as usize, at(&event), into(&mut id)]).map(|_| id)
}

/// Interval and rest, each in seconds and nanoseconds.
fn set(id: i32, time: [i64; 4]) -> io::Result<i64> {
    call(libc::SYS_timer_settime, &[id as usize, 0, at(&time), 0])
}

fn get(id: i32) -> io::Result<[i64; 4]> {
    let mut time = [0; 4];
    call(libc::SYS_timer_gettime, &[id as usize, into(&mut time)]).map(|_| time)
}

pub fn hold(stage: &mut Stage) -> Held {
    let (soon, often) = (libc::SIGRTMIN() + 1, libc::SIGRTMIN() + 2);
    handle(soon, count as *const () as usize, libc::SA_SIGINFO | libc::SA_RESTART, 0)?;
    block(bit(often))?;
    let gap = create(libc::CLOCK_MONOTONIC, SIGEV_NONE, 0, 0)?;
    let coming = create(libc::CLOCK_MONOTONIC, SIGEV_SIGNAL, soon, 0x1234_5678_9abc)?;
    let far = create(libc::CLOCK_REALTIME, SIGEV_THREAD_ID, soon, 1)?;
    let silent = create(libc::CLOCK_BOOTTIME, SIGEV_NONE, 0, 2)?;
    let disarmed = create(libc::CLOCK_MONOTONIC, SIGEV_SIGNAL, soon, 3)?;
    let overrunning = create(libc::CLOCK_MONOTONIC, SIGEV_SIGNAL, often, 4)?;
    let work = create(libc::CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, soon, 5)?;
    call(libc::SYS_timer_delete, &[gap as usize])?;
    set(far, [9, 5, 1000, 0])?;
    set(silent, [0, 0, 500, 0])?;
    set(work, [0, 0, 100, 0])?;
    set(overrunning, [0, 1_000_000, 0, 1_000_000])?;
    kernel::nap(std::time::Duration::from_millis(30));
    set(coming, [0, 0, 4, 0])?;
    stage.keeps(|wrong| {
        for (id, interval, least, most) in
            [(far, [9, 5], 800, 1000), (silent, [0, 0], 300, 500), (work, [0, 0], 50, 100)]
        {
            match get(id) {
                Ok([seconds, nanos, left, _]) => {
                    wrong.equal(&format!("interval of timer {id}"), [seconds, nanos], interval);
                    wrong.holds(&format!("{left} s left for timer {id}"), (least..=most).contains(&left));
                }
                Err(error) => wrong.say(format!("timer {id}: {error}")),
            }
        }
        wrong.gives("a timer that is not armed", get(disarmed), [0; 4]);
        wrong.holds("the deleted timer is not there", get(gap).is_err());
    })?;
    stage.wrong.holds("the timer comes", kernel::until(|| COUNT.load(Ordering::SeqCst) > 0));
    stage.wrong.equal("its signal", LAST.load(Ordering::SeqCst), soon as u32);
    stage.wrong.equal("its value", VALUE.load(Ordering::SeqCst), 0x1234_5678_9abc);
    let mut info = [0_i32; 32];
    let taken = call(libc::SYS_rt_sigtimedwait, &[at(&bit(often)), into(&mut info), at(&[10_i64, 0]), 8]);
    stage.wrong.gives("the signal of the timer that overran", taken, i64::from(often));
    stage.wrong.equal("id and value of the timer that overran", (info[4], info[6]), (overrunning, 4));
    stage.wrong.holds(&format!("overruns are counted: {}", info[5]), info[5] > 0);
    stage.wrong.gives(
        "the free id is used next, or a later one",
        create(libc::CLOCK_MONOTONIC, SIGEV_NONE, 0, 0).map(|id| id > work),
        true,
    );
    Ok(())
}
