//! Signals: the dispositions of a process, sigaction(2); the mask, alternate stack and waiting signals of a thread,
//! sigprocmask(2), sigaltstack(2), sigqueue(3).

// zoo: pending_signals

use dormouse_wire::Tid;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::arguments;
use crate::kernel::{Answer, ptrace};
use crate::puppet::{Batch, Call, Slot};
use crate::resource::owners::Walk;

/// Highest signal number.
const LAST: i32 = 64;

/// What a process does at one signal, `struct kernel_sigaction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disposition {
    /// The signal's number.
    pub signal: i32,
    /// SIG_DFL, SIG_IGN or the handler's address.
    pub handler: u64,
    /// SA_*.
    pub flags: u64,
    /// The function that returns from the handler (SA_RESTORER).
    pub restorer: u64,
    /// Signals blocked while the handler runs.
    pub mask: u64,
}

/// What was asked of the process.
#[derive(Debug)]
pub struct AskedDispositions(Vec<(i32, Call, Slot)>);

/// Asks for all dispositions.
pub fn ask_dispositions(batch: &mut Batch) -> AskedDispositions {
    let asked = (1..=LAST)
        .filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal))
        .map(|signal| {
            let action = batch.space(32);
            (signal, batch.ask(libc::SYS_rt_sigaction, arguments![signal, 0, action, 8]), action)
        })
        .collect();
    AskedDispositions(asked)
}

/// Those that differ from the default.
pub fn answer_dispositions(asked: &AskedDispositions, batch: &Batch) -> Answer<Vec<Disposition>> {
    let mut dispositions = Vec::new();
    for (signal, call, action) in &asked.0 {
        batch.result(*call)?;
        let word = |at| batch.read_u64(*action, at);
        let found =
            Disposition { signal: *signal, handler: word(0), flags: word(8), restorer: word(16), mask: word(24) };
        if found != (Disposition { signal: *signal, handler: 0, flags: 0, restorer: 0, mask: 0 }) {
            dispositions.push(found);
        }
    }
    Ok(dispositions)
}

/// Sets every disposition, the default ones too: the engine's own were inherited. `narrow`: the handlers are those of a 32-bit
/// program, which are called in another way. The kernel tells that from how they are set, and does not tell it again.
pub fn restore_dispositions(record: &[Disposition], narrow: bool, batch: &mut Batch) {
    for signal in (1..=LAST).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        let default = Disposition { signal, ..Disposition::default() };
        let disposition = record.iter().find(|disposition| disposition.signal == signal).unwrap_or(&default);
        if narrow {
            restore_narrow(disposition, batch);
        } else {
            restore_disposition(disposition, batch);
        }
    }
}

/// The same as a 32-bit program does it: `struct compat_sigaction` of the kernel.
fn restore_narrow(record: &Disposition, batch: &mut Batch) {
    const RT_SIGACTION: i64 = 174;
    let words = [record.handler, record.flags, record.restorer].map(|word| (word as u32).to_ne_bytes());
    let action = batch.bytes(&[words.as_flattened(), &record.mask.to_ne_bytes()].concat());
    batch.must_ia32("set a signal's disposition", RT_SIGACTION, arguments![record.signal, action, 0, 8]);
}

/// Sets one disposition.
pub fn restore_disposition(record: &Disposition, batch: &mut Batch) {
    let words = [record.handler, record.flags, record.restorer, record.mask];
    let action: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let action = batch.bytes(&action);
    batch.must("set a signal's disposition", libc::SYS_rt_sigaction, arguments![record.signal, action, 0, 8]);
}

/// A thread's own part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadSignals {
    /// Blocked signals, one bit each.
    pub mask: u64,
    /// The alternate stack: address, flags, size; `stack_t`.
    pub alternate_stack: (u64, u32, u64),
    /// Signals that wait for this thread, oldest first: `siginfo_t`.
    pub pending: Vec<ByteBuf>,
}

/// What was asked of the thread.
#[derive(Debug)]
pub struct AskedThread(Call, Slot);

/// Asks for the alternate stack.
pub fn ask_thread(batch: &mut Batch) -> AskedThread {
    let stack = batch.space(24);
    AskedThread(batch.ask(libc::SYS_sigaltstack, arguments![0, stack]), stack)
}

/// The record; `pending` was read before the engine worked in the thread.
pub fn answer_thread(asked: &AskedThread, batch: &Batch, mask: u64, pending: Vec<ByteBuf>) -> Answer<ThreadSignals> {
    batch.result(asked.0)?;
    let stack = (batch.read_u64(asked.1, 0), batch.read_u32(asked.1, 8), batch.read_u64(asked.1, 16));
    Ok(ThreadSignals { mask, alternate_stack: stack, pending })
}

/// The signals that wait: those of the process, or those of one thread.
pub fn pending(thread: Tid, of_process: bool) -> Answer<Vec<ByteBuf>> {
    Ok(ptrace::pending_signals(thread, of_process)?.into_iter().map(|info| ByteBuf::from(info.to_vec())).collect())
}

/// The set of the signals that wait in a list.
pub fn set_of(pending: &[ByteBuf]) -> u64 {
    pending.iter().filter_map(|info| signal_of(info)).fold(0, |set, signal| set | 1 << (signal - 1))
}

/// The POSIX timer whose expiry a waiting signal tells of: si_code SI_TIMER, and si_timerid.
pub fn timer_of(info: &[u8]) -> Option<i32> {
    const SI_TIMER: i32 = -2;
    let number = |at: usize| Some(i32::from_ne_bytes(info.get(at..at + 4)?.try_into().ok()?));
    if number(8)? == SI_TIMER { number(16) } else { None }
}

/// Leads whoever has sent a signal that waits to the number that he has here: `si_uid`, which kill(2), sigqueue(3) and the ends of children
/// have.
pub fn lead_sender(info: &mut [u8], walk: &mut Walk<'_>) {
    const SI_TIMER: i32 = -2;
    const SI_SIGIO: i32 = -5;
    const LAST_OF_CHILDREN: i32 = 6;
    const USER: usize = 20;
    let number = |at: usize| Some(i32::from_ne_bytes(info.get(at..at + 4)?.try_into().ok()?));
    let has_sender = match (number(0), number(8)) {
        (_, Some(SI_TIMER | SI_SIGIO)) => false,
        (_, Some(..=0)) => true,
        (Some(libc::SIGCHLD), Some(1..=LAST_OF_CHILDREN)) => true,
        _ => false,
    };
    let place = info.get_mut(USER..USER + 4).filter(|_| has_sender);
    if let Some(place) = place.and_then(|place| <&mut [u8; 4]>::try_from(place).ok()) {
        let mut user = u32::from_ne_bytes(*place);
        walk.user(&mut user);
        *place = user.to_ne_bytes();
    }
}

/// The number of the signal a `siginfo_t` is about.
fn signal_of(info: &[u8]) -> Option<i32> {
    let number = i32::from_ne_bytes(info.get(..4)?.try_into().ok()?);
    (1..=LAST).contains(&number).then_some(number)
}

/// Sets the alternate stack: also "none", for the engine's own was inherited.
pub fn restore_stack(record: &ThreadSignals, batch: &mut Batch) {
    // SS_ONSTACK only reports; it cannot be set.
    const SS_ONSTACK: u32 = 1;
    let (address, flags, size) = record.alternate_stack;
    let mut stack = Vec::with_capacity(24);
    stack.extend(address.to_ne_bytes());
    stack.extend(u64::from(flags & !SS_ONSTACK).to_ne_bytes());
    stack.extend(size.to_ne_bytes());
    let stack = batch.bytes(&stack);
    batch.must("set the alternate signal stack", libc::SYS_sigaltstack, arguments![stack, 0]);
}

/// Queues the signals again, in their order, but for those of timers, which fire anew. Run by the thread itself: only to itself may a thread send what looks as if
/// the kernel had sent it, rt_sigqueueinfo(2).
pub fn restore_pending(record: &[ByteBuf], process: i32, thread: Option<i32>, batch: &mut Batch) {
    for info in record {
        let Some(signal) = signal_of(info).filter(|_| timer_of(info).is_none()) else { continue };
        let bytes = batch.bytes(info);
        match thread {
            Some(thread) => batch.must(
                "queue a signal that waited",
                libc::SYS_rt_tgsigqueueinfo,
                arguments![process, thread, signal, bytes],
            ),
            None => {
                batch.must("queue a signal that waited", libc::SYS_rt_sigqueueinfo, arguments![process, signal, bytes])
            }
        };
    }
}

/// Takes every waiting signal of a kind away: building the group makes SIGCHLDs that nobody sent.
pub fn forget(signal: i32, batch: &mut Batch) {
    let set = batch.bytes(&(1u64 << (signal - 1)).to_ne_bytes());
    let none = batch.bytes(&[0; 16]);
    // A plain signal waits at most twice: once for the thread, once for the process.
    for _ in 0..2 {
        batch.ask(libc::SYS_rt_sigtimedwait, arguments![set, 0, none, 8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::owners::Owners;

    #[test]
    fn who_has_sent_a_signal_is_led_and_nothing_else_is() {
        let owners = Owners { users: [(1000, 1001)].into(), ..Owners::default() };
        let led = |signal: i32, code: i32, length: usize| {
            let mut info = [signal, 0, code, 0, 77, 1000].map(i32::to_ne_bytes).concat();
            info.resize(length, 0);
            lead_sender(&mut info, &mut Walk::leading(&owners));
            info.get(20..24).map(|user| i32::from_ne_bytes(user.try_into().unwrap_or_default()))
        };
        const SI_KERNEL: i32 = 0x80;
        for (signal, code) in [(libc::SIGUSR1, 0), (libc::SIGUSR1, -1), (libc::SIGRTMIN(), -6), (libc::SIGCHLD, 1)] {
            assert_eq!(led(signal, code, 128), Some(1001), "{signal} {code}");
        }
        for (signal, code) in
            [(libc::SIGALRM, -2), (libc::SIGIO, -5), (libc::SIGIO, 1), (libc::SIGSEGV, 1), (libc::SIGINT, SI_KERNEL)]
        {
            assert_eq!(led(signal, code, 128), Some(1000), "{signal} {code}");
        }
        assert_eq!((led(libc::SIGUSR1, 0, 22), led(libc::SIGUSR1, 0, 3)), (None, None));
    }
}
