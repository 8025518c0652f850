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

//!
//! A 32-bit program makes these calls by other numbers, and gives some of them shorter times.

// zoo: sleeps ia32

use serde::{Deserialize, Serialize};

use crate::kernel::memory;
use crate::kernel::ptrace::GeneralRegisters;
use crate::model::RemotePtr;
use crate::puppet::arch::{self, Abi, RED_ZONE, restart};
use dormouse_wire::Pid;

/// A call whose rest the kernel must keep again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptedCall {
    /// The number of the call.
    pub number: i64,
    /// Nanoseconds that were left of its timeout.
    pub rest: u64,
    /// It was made as 32-bit programs do, and has its number there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ia32: bool,
}

impl InterruptedCall {
    /// How it was made.
    pub fn abi(self) -> Abi {
        if self.ia32 { Abi::Ia32 } else { Abi::Native }
    }
}

/// Numbers of system calls for 32-bit programs (i386); what ends in 64 takes a `struct timespec` of 64-bit words.
mod ia32 {
    pub const READ: i64 = 3;
    pub const WRITE: i64 = 4;
    pub const SOCKETCALL: i64 = 102;
    pub const IPC: i64 = 117;
    pub const READV: i64 = 145;
    pub const WRITEV: i64 = 146;
    pub const NANOSLEEP: i64 = 162;
    pub const POLL: i64 = 168;
    pub const RT_SIGTIMEDWAIT: i64 = 177;
    pub const FUTEX: i64 = 240;
    pub const IO_GETEVENTS: i64 = 247;
    pub const EPOLL_WAIT: i64 = 256;
    pub const CLOCK_NANOSLEEP: i64 = 267;
    pub const EPOLL_PWAIT: i64 = 319;
    pub const CONNECT: i64 = 362;
    pub const ACCEPT4: i64 = 364;
    pub const SENDTO: i64 = 369;
    pub const SENDMSG: i64 = 370;
    pub const RECVFROM: i64 = 371;
    pub const RECVMSG: i64 = 372;
    pub const IO_PGETEVENTS: i64 = 385;
    pub const MSGSND: i64 = 400;
    pub const MSGRCV: i64 = 401;
    pub const CLOCK_NANOSLEEP_64: i64 = 407;
    pub const IO_PGETEVENTS_64: i64 = 416;
    pub const SEMTIMEDOP_64: i64 = 420;
    pub const RT_SIGTIMEDWAIT_64: i64 = 421;
    pub const FUTEX_64: i64 = 422;
    pub const EPOLL_PWAIT2: i64 = 441;
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
    /// The same of two words of 32 bits.
    ShortTimespec(usize),
}

/// Calls that a stop turns into EINTR, and that can be made again: nothing has happened yet when they answer it.
fn repeated(abi: Abi, number: i64, arguments: &[u64; 6]) -> Option<Timeout> {
    if abi == Abi::Ia32 {
        return repeated_ia32(number, arguments);
    }
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

fn repeated_ia32(number: i64, arguments: &[u64; 6]) -> Option<Timeout> {
    /// semtimedop(2) as ipc(2) knows it; the number of a version may stand above it.
    const SEMTIMEDOP: u64 = 4;
    Some(match number {
        ia32::EPOLL_WAIT | ia32::EPOLL_PWAIT => Timeout::Milliseconds(3),
        ia32::EPOLL_PWAIT2 | ia32::SEMTIMEDOP_64 => Timeout::Timespec(3),
        ia32::RT_SIGTIMEDWAIT_64 => Timeout::Timespec(2),
        ia32::RT_SIGTIMEDWAIT => Timeout::ShortTimespec(2),
        ia32::IO_PGETEVENTS_64 => Timeout::Timespec(4),
        ia32::IO_GETEVENTS | ia32::IO_PGETEVENTS => Timeout::ShortTimespec(4),
        ia32::IPC if arguments[0] & 0xffff == SEMTIMEDOP => Timeout::ShortTimespec(5),
        ia32::IPC
        | ia32::SOCKETCALL
        | ia32::READ
        | ia32::READV
        | ia32::WRITE
        | ia32::WRITEV
        | ia32::CONNECT
        | ia32::RECVFROM
        | ia32::RECVMSG
        | ia32::SENDTO
        | ia32::SENDMSG
        | ia32::ACCEPT4
        | ia32::MSGRCV
        | ia32::MSGSND => Timeout::None,
        _ => return None,
    })
}

/// Calls whose rest the kernel keeps.
fn kept(abi: Abi, number: i64) -> Option<Timeout> {
    Some(match (abi, number) {
        (Abi::Native, libc::SYS_nanosleep) => Timeout::Timespec(0),
        (Abi::Native, libc::SYS_clock_nanosleep) | (Abi::Ia32, ia32::CLOCK_NANOSLEEP_64) => Timeout::Timespec(2),
        (Abi::Native, libc::SYS_poll) | (Abi::Ia32, ia32::POLL) => Timeout::Milliseconds(2),
        (Abi::Native, libc::SYS_futex) | (Abi::Ia32, ia32::FUTEX_64) => Timeout::Timespec(3),
        (Abi::Ia32, ia32::NANOSLEEP) => Timeout::ShortTimespec(0),
        (Abi::Ia32, ia32::CLOCK_NANOSLEEP) => Timeout::ShortTimespec(2),
        (Abi::Ia32, ia32::FUTEX) => Timeout::ShortTimespec(3),
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

/// The same for a 32-bit program. By which of two numbers it has made a call is told by how long its times are: where the kernel has
/// written what is left, it did so as the call takes it. A short time of whole seconds may be taken for a long one, of some
/// nanoseconds more: it ends later by less than a second then.
pub fn resumed_ia32(pid: Pid, place: &[u8], arguments: &[u64; 6]) -> Option<i64> {
    let is_long = |address: u64| {
        let mut words = [0; 8];
        memory::read(pid, RemotePtr(address), &mut words).is_ok_and(|()| words[4..] == [0; 4])
    };
    // Here pointers are as short as clocks; those of processors, which are negative, are waited for elsewhere.
    let first = if place.windows(3).any(|part| part == b"cpu") { 0 } else { arguments[0] };
    let first = if first < 4096 { first } else { u64::MAX };
    let [_, _, whole, rest, ..] = *arguments;
    Some(match resumed(place, first)? {
        libc::SYS_poll => ia32::POLL,
        libc::SYS_futex if is_long(rest) => ia32::FUTEX_64,
        libc::SYS_futex => ia32::FUTEX,
        libc::SYS_clock_nanosleep if is_long(if rest == 0 { whole } else { rest }) => ia32::CLOCK_NANOSLEEP_64,
        libc::SYS_clock_nanosleep => ia32::CLOCK_NANOSLEEP,
        _ => ia32::NANOSLEEP,
    })
}

/// Whether a record of this call may be true: the kernel keeps what is left of it.
pub fn is_possible(call: InterruptedCall) -> bool {
    kept(call.abi(), call.number).is_some()
}

/// Names the call in the registers of a thread that was going on with it by restart_syscall(2).
pub fn name(call: i64, registers: &mut GeneralRegisters, abi: Abi) {
    if registers.orig_rax == abi.restart() as u64 {
        registers.orig_rax = call as u64;
    }
}

/// Whether a call waits with a timeout that counts from its start, so that it matters since when it waits.
pub fn is_timed(abi: Abi, number: i64, arguments: &[u64; 6]) -> bool {
    match repeated(abi, number, arguments).or_else(|| kept(abi, number)) {
        None | Some(Timeout::None) => false,
        Some(Timeout::Milliseconds(index)) => !(arguments[index] as i32).is_negative(),
        Some(Timeout::Timespec(index) | Timeout::ShortTimespec(index)) => arguments[index] != 0,
    }
}

/// Reads the whole timeout in nanoseconds.
fn timeout(pid: Pid, how: Timeout, arguments: &[u64; 6]) -> Option<u64> {
    match how {
        Timeout::None => None,
        Timeout::Milliseconds(index) => {
            let milliseconds = arguments[index] as i32;
            u64::try_from(milliseconds).ok().map(|milliseconds| milliseconds * 1_000_000)
        }
        Timeout::Timespec(index) => timespec(pid, arguments[index]),
        Timeout::ShortTimespec(index) => short_timespec(pid, arguments[index]),
    }
}

fn timespec(pid: Pid, address: u64) -> Option<u64> {
    if address == 0 {
        return None;
    }
    let seconds = memory::read_u64(pid, RemotePtr(address)).ok()?;
    // The upper half is padding where a 32-bit program has written it.
    let nanoseconds = memory::read_u64(pid, RemotePtr(address) + 8).ok()? & 0xffff_ffff;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

fn short_timespec(pid: Pid, address: u64) -> Option<u64> {
    if address == 0 {
        return None;
    }
    let both = memory::read_u64(pid, RemotePtr(address)).ok()?;
    (both & 0xffff_ffff).checked_mul(1_000_000_000)?.checked_add(both >> 32)
}

/// A time as a call takes it.
fn time_bytes(how: Timeout, rest: u64) -> Vec<u8> {
    let (seconds, nanoseconds) = (rest / 1_000_000_000, rest % 1_000_000_000);
    match how {
        // Longer than such a program can say it waits for ever, or for 68 years.
        Timeout::ShortTimespec(_) => {
            let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
            [seconds.to_ne_bytes(), (nanoseconds as u32).to_ne_bytes()].concat()
        }
        _ => [seconds, nanoseconds].map(u64::to_ne_bytes).concat(),
    }
}

/// Steps a thread back onto a call that our stop, and no signal, has turned into EINTR. `waited`: nanoseconds since it
/// began to wait.
///
/// Where the timeout lies in memory, what is left of it goes below the thread's stack, where nothing of it lives.
pub fn step_back(pid: Pid, registers: &mut GeneralRegisters, abi: Abi, waited: u64) {
    let Some((number, answer)) = arch::interrupted_call(registers) else { return };
    let arguments = abi.arguments(registers);
    let Some(how) = repeated(abi, number, &arguments).filter(|_| answer == -i64::from(libc::EINTR)) else { return };
    let rest = timeout(pid, how, &arguments).map(|whole| whole.saturating_sub(waited));
    make_again(pid, registers, (abi, number), (how, rest));
}

/// Steps a thread back onto a call whose rest the kernel would keep, for one that must not go on with it by
/// restart_syscall(2), and be it that the kernel does not know of the rest any more.
pub fn forgo_the_rest(pid: Pid, registers: &mut GeneralRegisters, abi: Abi, waited: u64) {
    if let Some(InterruptedCall { number, rest, .. }) = record(pid, registers, abi, waited)
        && let Some(how) = kept(abi, number)
    {
        make_again(pid, registers, (abi, number), (how, Some(rest)));
    }
}

/// Steps a thread back onto a call, with this rest of its timeout.
fn make_again(pid: Pid, registers: &mut GeneralRegisters, (abi, number): (Abi, i64), rest: (Timeout, Option<u64>)) {
    let mut back = *registers;
    match rest {
        (Timeout::Milliseconds(index), Some(rest)) => *abi.argument(&mut back, index) = rest.div_ceil(1_000_000),
        (how @ (Timeout::Timespec(index) | Timeout::ShortTimespec(index)), Some(rest)) => {
            let place = (registers.rsp - RED_ZONE - 64) & !15;
            if memory::write(pid, RemotePtr(place), &time_bytes(how, rest)).is_ok() {
                *abi.argument(&mut back, index) = place;
            }
        }
        _ => {}
    }
    onto_the_call(&mut back, number);
    *registers = back;
}

/// Lets a thread make a call from the beginning.
fn onto_the_call(registers: &mut GeneralRegisters, number: i64) {
    registers.rax = number as u64;
    registers.orig_rax = u64::MAX;
    // The instructions of all sorts are as long.
    registers.rip -= arch::SYSCALL_INSTRUCTION.len() as u64;
}

/// What the thaw must know of a call whose rest the kernel keeps. The registers are changed where the call can simply be
/// made again, because its timeout is a point in time.
pub fn record(pid: Pid, registers: &mut GeneralRegisters, abi: Abi, waited: u64) -> Option<InterruptedCall> {
    let (number, answer) = arch::interrupted_call(registers)?;
    if answer != restart::RESTART_RESTARTBLOCK {
        return None;
    }
    let (how, arguments) = (kept(abi, number)?, abi.arguments(registers));
    let rest_written = match (abi, number) {
        // The kernel has told what is left, where it was asked to.
        (Abi::Native, libc::SYS_nanosleep) => timespec(pid, arguments[1]),
        (Abi::Native, libc::SYS_clock_nanosleep) | (Abi::Ia32, ia32::CLOCK_NANOSLEEP_64) => timespec(pid, arguments[3]),
        (Abi::Ia32, ia32::NANOSLEEP) => short_timespec(pid, arguments[1]),
        (Abi::Ia32, ia32::CLOCK_NANOSLEEP) => short_timespec(pid, arguments[3]),
        (Abi::Native, libc::SYS_futex) | (Abi::Ia32, ia32::FUTEX | ia32::FUTEX_64)
            if arguments[1] & 0x7f != FUTEX_WAIT =>
        {
            onto_the_call(registers, number);
            return None;
        }
        _ => None,
    };
    let rest = rest_written.or_else(|| Some(timeout(pid, how, &arguments)?.saturating_sub(waited)));
    if rest.is_none() {
        // It waits for ever.
        onto_the_call(registers, number);
    }
    Some(InterruptedCall { number, rest: rest?, ia32: abi == Abi::Ia32 })
}

const FUTEX_WAIT: u64 = 0;
const IO_PGETEVENTS: i64 = 333;

/// The arguments with which the thawed thread makes the call again; `place`: where what is left is written as
/// [`rest_bytes`].
pub fn again(call: InterruptedCall, registers: &GeneralRegisters, place: RemotePtr) -> [u64; 6] {
    let mut arguments = call.abi().arguments(registers);
    match kept(call.abi(), call.number) {
        Some(Timeout::Milliseconds(index)) => arguments[index] = call.rest.div_ceil(1_000_000),
        Some(Timeout::Timespec(index) | Timeout::ShortTimespec(index)) => arguments[index] = place.0,
        _ => {}
    }
    arguments
}

/// What is left, as the `struct timespec` that the call takes.
pub fn rest_bytes(call: InterruptedCall) -> Vec<u8> {
    time_bytes(kept(call.abi(), call.number).unwrap_or(Timeout::None), call.rest)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_32_bit_program_is_known_by_how_long_its_times_are() {
        let own = Pid(std::process::id() as i32);
        let (short, long) = ([7_u32, 5, 1, 1], [7_u32, 0, 5, 0]);
        let at = |time: &[u32; 4]| time.as_ptr() as u64;
        let call = |place: &str, arguments| resumed_ia32(own, place.as_bytes(), &arguments);
        let futex = |time| call("futex_do_wait", [0x0804_9000, 128, 1, time, 0, 0]);
        assert_eq!((futex(at(&short)), futex(at(&long))), (Some(ia32::FUTEX), Some(ia32::FUTEX_64)));
        let clock = |time, rest| call("hrtimer_nanosleep", [1, 0, time, rest, 0, 0]);
        assert_eq!(clock(at(&short), 0), Some(ia32::CLOCK_NANOSLEEP));
        assert_eq!(clock(at(&long), 0), Some(ia32::CLOCK_NANOSLEEP_64));
        // What the kernel has written last tells more.
        assert_eq!(clock(at(&long), at(&short)), Some(ia32::CLOCK_NANOSLEEP));
        // A pointer is no negative clock, but where a processor's time is waited for.
        assert_eq!(call("hrtimer_nanosleep", [0xffc0_1230, 0, 0, 0, 0, 0]), Some(ia32::NANOSLEEP));
        let of_processor = call("do_cpu_nanosleep", [0xffff_fffa, 0, at(&long), 0, 0, 0]);
        assert_eq!(of_processor, Some(ia32::CLOCK_NANOSLEEP_64));
        assert_eq!(call("do_poll", [0, 0, 5000, 0, 0, 0]), Some(ia32::POLL));
    }

    #[test]
    fn times_are_as_long_as_the_call_takes_them() {
        let call = |number, ia32| InterruptedCall { number, rest: 3_000_000_007, ia32 };
        assert_eq!(rest_bytes(call(ia32::FUTEX, true)), [3, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(rest_bytes(call(ia32::FUTEX_64, true)), [3, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        assert!(is_possible(call(ia32::FUTEX, true)) && !is_possible(call(ia32::FUTEX, false)));
        assert!(is_possible(call(libc::SYS_nanosleep, false)) && !is_possible(call(libc::SYS_nanosleep, true)));
    }
}
