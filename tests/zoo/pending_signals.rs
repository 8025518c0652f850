//! Pending signals, of the process and of a thread, with what came with them: senders, codes, values, several of one.

use std::time::Duration;

use crate::kernel::{at, call, checked, status, tid};
use crate::stage::{Held, Stage};

/// A `siginfo_t` as the kernel lays it out for a value that was queued: signal, errno, code, pid, uid, value.
#[repr(C)]
#[derive(Clone, Copy)]
struct Queued {
    signal: i32,
    error: i32,
    code: i32,
    gap: i32,
    pid: i32,
    uid: u32,
    value: u64,
    rest: [u64; 12],
}

fn queued(signal: i32, code: i32, value: u64) -> Queued {
    Queued { signal, error: 3, code, gap: 0, pid: 4321, uid: 99, value, rest: [0; 12] }
}

fn block(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: an all-zero set is an empty set; the calls below write to it alone.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    for signal in signals {
        // SAFETY: `set` lives through the call.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    // SAFETY: `set` lives through the call, and the old one is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    set
}

/// Takes one pending signal out: number, error, code, pid and value.
fn take(set: &libc::sigset_t) -> Option<(i32, i32, i32, i32, u64)> {
    let mut info = queued(0, 0, 0);
    let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let arguments = [at(set), crate::kernel::into(&mut info), at(&zero), 8];
    call(libc::SYS_rt_sigtimedwait, &arguments).ok()?;
    Some((info.signal, info.error, info.code, info.pid, info.value))
}

pub fn hold(stage: &mut Stage) -> Held {
    let realtime = libc::SIGRTMIN() + 3;
    let set =
        block(&[libc::SIGUSR1, libc::SIGUSR2, libc::SIGCHLD, libc::SIGURG, libc::SIGWINCH, realtime, realtime + 1]);
    let (pid, own) = (std::process::id() as usize, tid() as usize);
    // SAFETY: takes numbers only.
    checked(unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) })?;
    for value in [10, 0xdead_beef_0000_0011, 12] {
        call(libc::SYS_rt_sigqueueinfo, &[pid, realtime as usize, at(&queued(realtime, libc::SI_QUEUE, value))])?;
    }
    call(libc::SYS_rt_tgsigqueueinfo, &[pid, own, realtime as usize + 1, at(&queued(realtime + 1, -60, 77))])?;
    call(
        libc::SYS_rt_tgsigqueueinfo,
        &[pid, own, libc::SIGUSR2 as usize, at(&queued(libc::SIGUSR2, libc::SI_TKILL, 5))],
    )?;
    // As Go's runtime does it all the time, and as a terminal does when its size changes: with both waiting, the engine
    // has to find a third signal for its own work.
    call(libc::SYS_tgkill, &[pid, own, libc::SIGURG as usize])?;
    // SAFETY: takes numbers only.
    checked(unsafe { libc::kill(libc::getpid(), libc::SIGWINCH) })?;
    let bits =
        |signals: &[i32]| format!("{:016x}", signals.iter().fold(0_u64, |bits, signal| bits | 1 << (signal - 1)));
    stage.keeps(|wrong| {
        wrong.equal(
            "pending for the process",
            status("/proc/self/status", "ShdPnd"),
            bits(&[libc::SIGUSR1, libc::SIGWINCH, realtime]),
        );
        wrong.equal(
            "pending for the thread",
            status("/proc/self/status", "SigPnd"),
            bits(&[libc::SIGUSR2, libc::SIGURG, realtime + 1]),
        );
    })?;
    crate::kernel::nap(Duration::from_millis(1));
    let mut found: Vec<_> = std::iter::from_fn(|| take(&set)).collect();
    found.sort_unstable();
    let own_pid = std::process::id() as i32;
    let mut expected = vec![
        (realtime, 3, libc::SI_QUEUE, 4321, 10),
        (realtime, 3, libc::SI_QUEUE, 4321, 12),
        (realtime, 3, libc::SI_QUEUE, 4321, 0xdead_beef_0000_0011),
        (realtime + 1, 3, -60, 4321, 77),
        (libc::SIGUSR1, 0, libc::SI_USER, own_pid, 0),
        (libc::SIGWINCH, 0, libc::SI_USER, own_pid, 0),
        (libc::SIGURG, 0, libc::SI_TKILL, own_pid, 0),
        (libc::SIGUSR2, 3, libc::SI_TKILL, 4321, 5),
    ];
    expected.sort_unstable();
    stage.wrong.equal("the signals", found, expected);
    Ok(())
}
