//! Tracing, ptrace(2): every request must come from the thread that seized the tracee.

use std::time::{Duration, Instant};

use dormouse_wire::Tid;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::{Answer, Errno};

/// What a thread that was waited for did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is about to take this signal; what happens to it is ours to say.
    Signal(i32),
    /// PTRACE_EVENT_STOP: it obeyed an interrupt or has just been born traced.
    Interrupted,
    /// PTRACE_EVENT_STOP in a group stop: this signal has stopped its process.
    GroupStop(i32),
    /// It entered or left a system call.
    Syscall,
    /// Another event, PTRACE_EVENT_*.
    Other(i32),
    /// It has ended, with the status of wait(2).
    Ended(i32),
}

/// The request numbers that libc does not name.
mod request {
    pub const GETSIGMASK: u32 = 0x420a;
    pub const SETSIGMASK: u32 = 0x420b;
    pub const PEEKSIGINFO: u32 = 0x4209;
    pub const GET_RSEQ_CONFIGURATION: u32 = 0x420f;
    pub const SET_SYSCALL_USER_DISPATCH: u32 = 0x4210;
    pub const GET_SYSCALL_USER_DISPATCH: u32 = 0x4211;
}

/// Register sets by note type, elf(5).
const NT_X86_XSTATE: u64 = 0x202;

/// Length of the registers as FXSAVE stores them: all that there is without XSAVE.
pub const FXSAVE: usize = 512;

pub(super) fn call(request: u32, thread: Tid, address: u64, data: u64) -> Answer<i64> {
    Errno::clear();
    // SAFETY: every caller below passes addresses of memory of ours that it holds for the call and whose size the
    // request knows or is told; what concerns the tracee cannot break us.
    let result = unsafe { libc::ptrace(request, thread.0, address as *mut libc::c_void, data as *mut libc::c_void) };
    if result == -1 && Errno::last_raw() != 0 { Err(Errno::last()) } else { Ok(result) }
}

/// How a thread is traced, PTRACE_O_*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// PTRACE_O_EXITKILL: it dies when we do.
    pub end_with_us: bool,
    /// PTRACE_O_SUSPEND_SECCOMP: what confines its system calls does not while it is traced. Wants CAP_SYS_ADMIN, and a
    /// tracer that is not confined itself.
    pub suspend_seccomp: bool,
}

impl Options {
    fn bits(self) -> u64 {
        let flags =
            [(self.end_with_us, libc::PTRACE_O_EXITKILL), (self.suspend_seccomp, libc::PTRACE_O_SUSPEND_SECCOMP)];
        let set = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum::<i32>();
        (libc::PTRACE_O_TRACESYSGOOD | set) as u64
    }
}

/// Becomes the tracer without stopping the thread.
pub fn seize(thread: Tid, options: Options) -> Answer<()> {
    call(libc::PTRACE_SEIZE, thread, 0, options.bits()).map(drop)
}

/// Traces a stopped thread in another way.
pub fn set_options(thread: Tid, options: Options) -> Answer<()> {
    call(libc::PTRACE_SETOPTIONS, thread, 0, options.bits()).map(drop)
}

/// Asks the thread to stop; [`wait`] tells when it has.
pub fn interrupt(thread: Tid) -> Answer<()> {
    call(libc::PTRACE_INTERRUPT, thread, 0, 0).map(drop)
}

/// Lets the thread run, taking `signal` (0: none).
pub fn resume(thread: Tid, signal: i32) -> Answer<()> {
    call(libc::PTRACE_CONT, thread, 0, signal as u64).map(drop)
}

/// Lets the thread run to the next entry to or exit from a system call, taking `signal` (0: none).
pub fn resume_to_syscall(thread: Tid, signal: i32) -> Answer<()> {
    call(libc::PTRACE_SYSCALL, thread, 0, signal as u64).map(drop)
}

/// Runs one instruction of the thread.
pub fn step(thread: Tid) -> Answer<()> {
    call(libc::PTRACE_SINGLESTEP, thread, 0, 0).map(drop)
}

/// Stops tracing; the thread runs on, taking `signal` (0: none).
pub fn detach(thread: Tid, signal: i32) -> Answer<()> {
    call(libc::PTRACE_DETACH, thread, 0, signal as u64).map(drop)
}

/// How long a thread may take that does what it is told: a busy machine may not let it run at once.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Whoever is quick has answered by then, and is asked without a pause.
const SOON: Duration = Duration::from_micros(200);
/// Between two looks at one that is not.
const PAUSE: Duration = Duration::from_micros(50);

/// Waits until the thread stops or ends; ETIMEDOUT: it takes more than [`PATIENCE`].
pub fn wait(thread: Tid) -> Answer<Event> {
    wait_until(thread, Instant::now() + PATIENCE)
}

/// Waits until the thread stops or ends, and looks once at least; ETIMEDOUT: it has not by then. wait(2) with __WALL has no
/// limit of its own, and nothing but a signal to us would end it: so it is asked again and again.
pub fn wait_until(thread: Tid, end: Instant) -> Answer<Event> {
    let begin = Instant::now();
    loop {
        if let Some(event) = try_wait(thread)? {
            return Ok(event);
        }
        let now = Instant::now();
        if now >= end {
            return Err(Errno::ETIMEDOUT);
        }
        if now - begin > SOON { std::thread::sleep(PAUSE) } else { std::thread::yield_now() }
    }
}

/// Waits until all of these have ended, and been waited for, in whatever order they do: the last thread of the first process of a pid
/// namespace ends only when all others in it are gone, pid_namespaces(7).
pub fn wait_for_ends(threads: impl IntoIterator<Item = Tid>, end: Instant) {
    let mut waiting: Vec<Tid> = threads.into_iter().collect();
    let begin = Instant::now();
    let lives = |thread: &Tid| loop {
        match try_wait(*thread) {
            Ok(Some(Event::Ended(_))) | Err(_) => return false,
            Ok(None) => return true,
            Ok(Some(_)) => {}
        }
    };
    loop {
        waiting.retain(lives);
        let now = Instant::now();
        if waiting.is_empty() || now >= end {
            return;
        }
        if now - begin > SOON { std::thread::sleep(PAUSE) } else { std::thread::yield_now() }
    }
}

/// Whether the thread has stopped or ended.
pub fn try_wait(thread: Tid) -> Answer<Option<Event>> {
    let mut status = 0;
    loop {
        // SAFETY: waitpid writes one int, which we hold.
        let pid = unsafe { libc::waitpid(thread.0, &raw mut status, libc::__WALL | libc::WNOHANG) };
        if pid != -1 {
            return Ok((pid != 0).then(|| event(status)));
        }
        if Errno::last() != Errno::EINTR {
            return Err(Errno::last());
        }
    }
}

/// Takes the news that an own child was stopped, if there are any. It is not traced any more.
pub fn take_news(child: Tid) {
    let mut status = 0;
    // SAFETY: waitpid writes one int, which we hold; WNOHANG keeps it from waiting.
    unsafe { libc::waitpid(child.0, &raw mut status, libc::WUNTRACED | libc::WNOHANG | libc::__WALL) };
}

fn event(status: i32) -> Event {
    if !libc::WIFSTOPPED(status) {
        return Event::Ended(status);
    }
    let signal = libc::WSTOPSIG(status);
    match status >> 16 {
        0 if signal == libc::SIGTRAP | 0x80 => Event::Syscall,
        0 => Event::Signal(signal),
        libc::PTRACE_EVENT_STOP if signal == libc::SIGTRAP => Event::Interrupted,
        libc::PTRACE_EVENT_STOP => Event::GroupStop(signal),
        other => Event::Other(other),
    }
}

/// The general registers, `struct user_regs_struct`, in the kernel's order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct GeneralRegisters {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub eflags: u64,
    pub rsp: u64,
    pub ss: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub ds: u64,
    pub es: u64,
    pub fs: u64,
    pub gs: u64,
}

/// Reads the general registers, in this form also those of a thread that runs 32-bit code: PTRACE_GETREGSET would give
/// fewer and shorter ones then.
pub fn general_registers(thread: Tid) -> Answer<GeneralRegisters> {
    let mut registers = GeneralRegisters::default();
    call(libc::PTRACE_GETREGS, thread, 0, &raw mut registers as u64)?;
    Ok(registers)
}

/// Writes the general registers.
pub fn set_general_registers(thread: Tid, registers: &GeneralRegisters) -> Answer<()> {
    call(libc::PTRACE_SETREGS, thread, 0, std::ptr::from_ref(registers) as u64).map(drop)
}

/// A segment of a thread, `struct user_desc`, set_thread_area(2): number, base, limit, flags. A 32-bit program has its
/// thread-local storage in one.
pub type Segment = [u32; 4];

/// The numbers of the segments that a thread has for itself in the table of the kernel (GDT_ENTRY_TLS_MIN and those behind
/// it), x86-64.
pub const SEGMENTS: std::ops::RangeInclusive<u32> = 12..=14;

/// One of the thread's own segments. EIO: this kernel knows no 32-bit programs.
pub fn segment(thread: Tid, number: u32) -> Answer<Segment> {
    let mut segment = Segment::default();
    call(GET_THREAD_AREA, thread, number.into(), segment.as_mut_ptr() as u64)?;
    Ok(segment)
}

/// Sets one of the thread's own segments. The kernel refuses any that could be of harm.
pub fn set_segment(thread: Tid, segment: &Segment) -> Answer<()> {
    call(SET_THREAD_AREA, thread, segment[0].into(), segment.as_ptr() as u64).map(drop)
}

const GET_THREAD_AREA: u32 = 25;
const SET_THREAD_AREA: u32 = 26;

/// Reads the extended state (x87, SSE, AVX, AMX, protection keys) in the standard XSAVE format, whatever its size; where the
/// processor has no XSAVE, that is what FXSAVE stores.
pub fn extended_registers(thread: Tid) -> Answer<Vec<u8>> {
    // Without tiles the area is smaller than this.
    let mut area = [0u8; 4 * 1024];
    let mut vector = libc::iovec { iov_base: area.as_mut_ptr().cast(), iov_len: area.len() };
    match call(libc::PTRACE_GETREGSET, thread, NT_X86_XSTATE, &raw mut vector as u64) {
        Err(Errno::ENODEV) => {
            vector.iov_len = FXSAVE;
            call(libc::PTRACE_GETFPREGS, thread, 0, area.as_mut_ptr() as u64)?
        }
        answer => answer?,
    };
    if vector.iov_len < area.len() {
        return Ok(area[..vector.iov_len].to_vec());
    }
    let mut area = vec![0u8; 16 * 1024];
    loop {
        let mut vector = libc::iovec { iov_base: area.as_mut_ptr().cast(), iov_len: area.len() };
        call(libc::PTRACE_GETREGSET, thread, NT_X86_XSTATE, &raw mut vector as u64)?;
        if vector.iov_len < area.len() {
            area.truncate(vector.iov_len);
            return Ok(area);
        }
        area.resize(area.len() * 2, 0);
    }
}

/// Writes the extended state, as long as [`extended_registers`] reads it.
pub fn set_extended_registers(thread: Tid, area: &[u8]) -> Answer<()> {
    if area.len() == FXSAVE {
        return call(libc::PTRACE_SETFPREGS, thread, 0, area.as_ptr() as u64).map(drop);
    }
    let mut vector = libc::iovec { iov_base: area.as_ptr().cast_mut().cast(), iov_len: area.len() };
    call(libc::PTRACE_SETREGSET, thread, NT_X86_XSTATE, &raw mut vector as u64).map(drop)
}

/// Whether the thread has a map of I/O ports that it may use, ioperm(2).
pub fn has_io_ports(thread: Tid) -> bool {
    const NT_386_IOPERM: u64 = 0x201;
    let mut map = [0u8; 8];
    let mut vector = libc::iovec { iov_base: map.as_mut_ptr().cast(), iov_len: map.len() };
    call(libc::PTRACE_GETREGSET, thread, NT_386_IOPERM, &raw mut vector as u64).is_ok()
}

/// The thread's signal mask: the one it returns to, where a call such as sigsuspend(2) has set another for a while.
pub fn signal_mask(thread: Tid) -> Answer<u64> {
    let mut mask = 0u64;
    call(request::GETSIGMASK, thread, 8, &raw mut mask as u64)?;
    Ok(mask)
}

/// Sets the thread's signal mask.
pub fn set_signal_mask(thread: Tid, mask: u64) -> Answer<()> {
    call(request::SETSIGMASK, thread, 8, &raw const mask as u64).map(drop)
}

/// Size of a `siginfo_t` in bytes.
pub const SIGINFO: usize = 128;

/// The signals that wait, oldest first, each with its siginfo_t: those of the process or those of this thread.
pub fn pending_signals(thread: Tid, of_process: bool) -> Answer<Vec<[u8; SIGINFO]>> {
    #[repr(C)]
    struct Arguments {
        offset: u64,
        flags: u32,
        count: i32,
    }
    const AT_ONCE: usize = 32;
    let mut pending = Vec::new();
    loop {
        let arguments = Arguments { offset: pending.len() as u64, flags: of_process.into(), count: AT_ONCE as i32 };
        let mut infos = [[0u8; SIGINFO]; AT_ONCE];
        let count = call(request::PEEKSIGINFO, thread, &raw const arguments as u64, infos.as_mut_ptr() as u64)?;
        pending.extend(infos.iter().take(count as usize));
        if (count as usize) < AT_ONCE {
            return Ok(pending);
        }
    }
}

/// The siginfo_t of the signal the thread has stopped for.
pub fn stop_signal(thread: Tid) -> Answer<[u8; SIGINFO]> {
    let mut info = [0u8; SIGINFO];
    call(libc::PTRACE_GETSIGINFO, thread, 0, info.as_mut_ptr() as u64)?;
    Ok(info)
}

/// A restartable sequences area as rseq(2) registered it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartableSequences {
    /// Where `struct rseq` lies; 0: none is registered.
    pub address: u64,
    /// Its length in bytes.
    pub length: u32,
    /// The signature before each abort handler.
    pub signature: u32,
}

/// The thread's rseq registration. Linux 5.13.
pub fn restartable_sequences(thread: Tid) -> Answer<RestartableSequences> {
    #[repr(C)]
    #[derive(Default)]
    struct Configuration {
        address: u64,
        length: u32,
        signature: u32,
        flags: u32,
        padding: u32,
    }
    let mut found = Configuration::default();
    call(request::GET_RSEQ_CONFIGURATION, thread, size_of::<Configuration>() as u64, &raw mut found as u64)?;
    Ok(RestartableSequences { address: found.address, length: found.length, signature: found.signature })
}

/// What becomes of a thread's system calls: `struct ptrace_sud_config`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyscallDispatch {
    /// PR_SYS_DISPATCH_OFF or how the range is meant.
    pub mode: u64,
    /// Where the byte is that switches it; 0: none.
    pub selector: u64,
    /// Where the range begins whose calls are let through.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

/// The thread's dispatch of system calls, where it is on. Linux 6.4; an older kernel does not tell.
pub fn syscall_dispatch(thread: Tid) -> Answer<Option<SyscallDispatch>> {
    let mut found = SyscallDispatch::default();
    let size = size_of::<SyscallDispatch>() as u64;
    match call(request::GET_SYSCALL_USER_DISPATCH, thread, size, &raw mut found as u64) {
        Err(Errno::EIO | Errno::EINVAL) => Ok(None),
        answer => answer.map(|_| (found.mode != 0).then_some(found)),
    }
}

/// Whether the kernel tells of a stopped thread's dispatch of system calls. EIO, EINVAL: it does not.
pub fn tells_dispatch(thread: Tid) -> Answer<()> {
    let mut found = SyscallDispatch::default();
    let size = size_of::<SyscallDispatch>() as u64;
    call(request::GET_SYSCALL_USER_DISPATCH, thread, size, &raw mut found as u64).map(drop)
}

/// Sets the thread's dispatch of system calls.
pub fn set_syscall_dispatch(thread: Tid, wanted: SyscallDispatch) -> Answer<()> {
    const INCLUSIVE: u64 = 2;
    let mut wanted = wanted;
    let end = wanted.offset.wrapping_add(wanted.length);
    if wanted.mode != 0 && wanted.offset != 0 && end <= wanted.offset {
        // The kernel keeps a range whose calls are the dispatched ones (Linux 6.18) as what is around it.
        wanted = SyscallDispatch { mode: INCLUSIVE, offset: end, length: wanted.length.wrapping_neg(), ..wanted };
    }
    let size = size_of::<SyscallDispatch>() as u64;
    call(request::SET_SYSCALL_USER_DISPATCH, thread, size, &raw const wanted as u64).map(drop)
}

/// Writes one word, also into pages the thread itself may not write.
pub fn poke(thread: Tid, address: u64, word: u64) -> Answer<()> {
    call(libc::PTRACE_POKEDATA, thread, address, word).map(drop)
}

/// The name of a signal, for a person.
pub fn signal_name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().to_owned())
}
