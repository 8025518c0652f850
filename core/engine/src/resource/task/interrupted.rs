//! System calls that the freeze has interrupted and the kernel would not restart by itself in a new thread.
//!
//! Most calls answer ERESTARTSYS or its like inside the kernel; set with the registers, that value makes the kernel
//! restart them in the thawed thread too. Two sorts need help:
//!
//! - calls that keep their rest in the kernel (ERESTART_RESTARTBLOCK: nanosleep(2), poll(2), futex(2) with a timeout).
//!   The thawed thread makes them again with what was left of their timeout and is interrupted at once, so that the
//!   kernel keeps the rest anew;
//! - calls that a stop turns into EINTR, signal(7): epoll_wait(2), sigtimedwait(2), semtimedop(2) and others. The thread
//!   steps back onto them, with what was left of their timeout.

// zoo: sleeps

use serde::{Deserialize, Serialize};

use crate::kernel::memory;
use crate::kernel::ptrace::GeneralRegisters;
use crate::model::RemotePtr;
use crate::puppet::arch::{self, RED_ZONE, restart};
use dormouse_wire::Pid;

/// A call whose rest the kernel must keep again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptedCall {
    /// The number of the call.
    pub number: i64,
    /// Nanoseconds that were left of its timeout.
    pub rest: u64,
}

/// How a call is told its timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timeout {
    /// It has none.
    None,
    /// Milliseconds in the nth argument; negative: none.
    Milliseconds(usize),
    /// A `struct timespec` the nth argument points to; null: none.
    Timespec(usize),
}

/// Calls that a stop turns into EINTR, and that can be made again: nothing has happened yet when they answer it.
fn repeated(number: i64) -> Option<Timeout> {
    Some(match number {
        libc::SYS_epoll_wait | libc::SYS_epoll_pwait => Timeout::Milliseconds(3),
        libc::SYS_epoll_pwait2 | libc::SYS_semtimedop => Timeout::Timespec(3),
        libc::SYS_rt_sigtimedwait => Timeout::Timespec(2),
        libc::SYS_io_getevents | IO_PGETEVENTS => Timeout::Timespec(4),
        // With SO_RCVTIMEO or SO_SNDTIMEO set; and read(2) of an inotify descriptor.
        libc::SYS_semop
        | libc::SYS_read
        | libc::SYS_readv
        | libc::SYS_write
        | libc::SYS_writev
        | libc::SYS_connect
        | libc::SYS_recvfrom
        | libc::SYS_recvmsg
        | libc::SYS_sendto
        | libc::SYS_sendmsg
        | libc::SYS_accept
        | libc::SYS_accept4
        | libc::SYS_msgrcv
        | libc::SYS_msgsnd => Timeout::None,
        _ => return None,
    })
}

/// Calls whose rest the kernel keeps.
fn kept(number: i64) -> Option<Timeout> {
    Some(match number {
        libc::SYS_nanosleep => Timeout::Timespec(0),
        libc::SYS_clock_nanosleep => Timeout::Timespec(2),
        libc::SYS_poll => Timeout::Milliseconds(2),
        libc::SYS_futex => Timeout::Timespec(3),
        _ => return None,
    })
}

/// The call that a thread goes on with by restart_syscall(2), which tells only that it goes on with one: `place` is where
/// in the kernel it waits (proc_pid_wchan(5)), `first` the call's first argument.
pub fn resumed(place: &[u8], first: u64) -> Option<i64> {
    let waits_in = |name: &[u8]| place.windows(name.len()).any(|part| part == name);
    // A clock is a small number, or a negative one of 32 bits; no pointer is either.
    let is_clock = first < 4096 || (0x8000_0000..=0xffff_ffff).contains(&first);
    match place {
        b"" | b"0" => None,
        // It stands still, and had not come to wait again.
        _ if waits_in(b"signal_stop") || waits_in(b"ptrace_stop") => None,
        _ if waits_in(b"poll") => Some(libc::SYS_poll),
        _ if waits_in(b"futex") => Some(libc::SYS_futex),
        _ if is_clock => Some(libc::SYS_clock_nanosleep),
        _ => Some(libc::SYS_nanosleep),
    }
}

/// Whether the kernel keeps what is left of this call, so that a record of it may be true.
pub fn is_kept(number: i64) -> bool {
    kept(number).is_some()
}

/// Names the call in the registers of a thread that was going on with it by restart_syscall(2).
pub fn name(call: i64, registers: &mut GeneralRegisters) {
    if registers.orig_rax == libc::SYS_restart_syscall as u64 {
        registers.orig_rax = call as u64;
    }
}

/// Whether a call waits with a timeout that counts from its start, so that it matters since when it waits.
pub fn is_timed(number: i64, arguments: &[u64; 6]) -> bool {
    match repeated(number).or_else(|| kept(number)) {
        None | Some(Timeout::None) => false,
        Some(Timeout::Milliseconds(index)) => !(arguments[index] as i32).is_negative(),
        Some(Timeout::Timespec(index)) => arguments[index] != 0,
    }
}

fn arguments(registers: &GeneralRegisters) -> [u64; 6] {
    [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9]
}

/// Reads the whole timeout in nanoseconds.
fn timeout(pid: Pid, how: Timeout, registers: &GeneralRegisters) -> Option<u64> {
    match how {
        Timeout::None => None,
        Timeout::Milliseconds(index) => {
            let milliseconds = arguments(registers)[index] as i32;
            u64::try_from(milliseconds).ok().map(|milliseconds| milliseconds * 1_000_000)
        }
        Timeout::Timespec(index) => timespec(pid, arguments(registers)[index]),
    }
}

fn timespec(pid: Pid, address: u64) -> Option<u64> {
    if address == 0 {
        return None;
    }
    let seconds = memory::read_u64(pid, RemotePtr(address)).ok()?;
    let nanoseconds = memory::read_u64(pid, RemotePtr(address) + 8).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

/// Steps a thread back onto a call that our stop, and no signal, has turned into EINTR. `waited`: nanoseconds since it
/// began to wait.
///
/// Where the timeout lies in memory, what is left of it goes below the thread's stack, where nothing of it lives.
pub fn step_back(pid: Pid, registers: &mut GeneralRegisters, waited: u64) {
    let Some((number, answer)) = arch::interrupted_call(registers) else { return };
    let Some(how) = repeated(number).filter(|_| answer == -i64::from(libc::EINTR)) else { return };
    let rest = timeout(pid, how, registers).map(|whole| whole.saturating_sub(waited));
    make_again(pid, registers, number, (how, rest));
}

/// Steps a thread back onto a call whose rest the kernel would keep, for one that must not go on with it by
/// restart_syscall(2), and be it that the kernel does not know of the rest any more.
pub fn forgo_the_rest(pid: Pid, registers: &mut GeneralRegisters, waited: u64) {
    if let Some(InterruptedCall { number, rest }) = record(pid, registers, waited)
        && let Some(how) = kept(number)
    {
        make_again(pid, registers, number, (how, Some(rest)));
    }
}

/// Steps a thread back onto a call, with this rest of its timeout.
fn make_again(pid: Pid, registers: &mut GeneralRegisters, number: i64, rest: (Timeout, Option<u64>)) {
    let mut back = *registers;
    match rest {
        (Timeout::Milliseconds(index), Some(rest)) => *argument(&mut back, index) = rest.div_ceil(1_000_000),
        (Timeout::Timespec(index), Some(rest)) => {
            let place = (registers.rsp - RED_ZONE - 64) & !15;
            let bytes = [rest / 1_000_000_000, rest % 1_000_000_000].map(u64::to_ne_bytes).concat();
            if memory::write(pid, RemotePtr(place), &bytes).is_ok() {
                *argument(&mut back, index) = place;
            }
        }
        _ => {}
    }
    back.rax = number as u64;
    back.orig_rax = u64::MAX;
    back.rip -= arch::SYSCALL_INSTRUCTION.len() as u64;
    *registers = back;
}

fn argument(registers: &mut GeneralRegisters, index: usize) -> &mut u64 {
    match index {
        0 => &mut registers.rdi,
        1 => &mut registers.rsi,
        2 => &mut registers.rdx,
        3 => &mut registers.r10,
        4 => &mut registers.r8,
        _ => &mut registers.r9,
    }
}

/// What the thaw must know of a call whose rest the kernel keeps. The registers are changed where the call can simply be
/// made again, because its timeout is a point in time.
pub fn record(pid: Pid, registers: &mut GeneralRegisters, waited: u64) -> Option<InterruptedCall> {
    let (number, answer) = arch::interrupted_call(registers)?;
    if answer != restart::RESTART_RESTARTBLOCK {
        return None;
    }
    let how = kept(number)?;
    let step_back = |registers: &mut GeneralRegisters| {
        registers.rax = number as u64;
        registers.orig_rax = u64::MAX;
        registers.rip -= arch::SYSCALL_INSTRUCTION.len() as u64;
    };
    let rest_written = match number {
        // The kernel has told what is left, where it was asked to.
        libc::SYS_nanosleep => timespec(pid, registers.rsi),
        libc::SYS_clock_nanosleep => timespec(pid, registers.r10),
        libc::SYS_futex if registers.rsi & 0x7f != FUTEX_WAIT => {
            step_back(registers);
            return None;
        }
        _ => None,
    };
    let rest = rest_written.or_else(|| Some(timeout(pid, how, registers)?.saturating_sub(waited)));
    if rest.is_none() {
        // It waits for ever.
        step_back(registers);
    }
    Some(InterruptedCall { number, rest: rest? })
}

const FUTEX_WAIT: u64 = 0;
const IO_PGETEVENTS: i64 = 333;

/// The arguments with which the thawed thread makes the call again; `place`: where what is left is written as a `struct
/// timespec`.
pub fn again(call: InterruptedCall, registers: &GeneralRegisters, place: RemotePtr) -> [u64; 6] {
    let mut arguments = arguments(registers);
    match kept(call.number) {
        Some(Timeout::Milliseconds(index)) => arguments[index] = call.rest.div_ceil(1_000_000),
        Some(Timeout::Timespec(index)) => arguments[index] = place.0,
        _ => {}
    }
    arguments
}

/// What is left, as a `struct timespec`.
pub fn rest_bytes(call: InterruptedCall) -> Vec<u8> {
    [call.rest / 1_000_000_000, call.rest % 1_000_000_000].map(u64::to_ne_bytes).concat()
}

#[cfg(test)]
mod tests {
    use super::resumed;

    #[test]
    fn a_call_that_goes_on_is_known_by_where_it_waits() {
        let call = |place: &str, first| resumed(place.as_bytes(), first);
        assert_eq!(call("poll_schedule_timeout.constprop.0", 0x7fe1_8833_8ec8), Some(libc::SYS_poll));
        assert_eq!(call("futex_do_wait", 0x5582_f1aa_7048), Some(libc::SYS_futex));
        assert_eq!(call("hrtimer_nanosleep", 1), Some(libc::SYS_clock_nanosleep));
        assert_eq!(call("do_cpu_nanosleep", 0xffff_fffa), Some(libc::SYS_clock_nanosleep));
        assert_eq!(call("do_syscall_64", 0x40_1000), Some(libc::SYS_nanosleep));
        assert_eq!(call("0", 0), None);
        assert_eq!(call("do_signal_stop", 0x7fe1_8833_8ec8), None);
        assert_eq!(call("ptrace_stop", 1), None);
    }
}
