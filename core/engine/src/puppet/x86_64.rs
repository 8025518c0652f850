//! All that depends on the processor: x86-64. A port brings a file with the same names beside this one.

use dormouse_wire::{Pid, Tid};

use crate::kernel::memory;
use crate::kernel::ptrace::GeneralRegisters;
use crate::model::RemotePtr;

/// `syscall`, the instruction.
pub const SYSCALL_INSTRUCTION: [u8; 2] = [0x0f, 0x05];

/// `int 0x80`, that of 32-bit programs. The kernel makes whoever came by `sysenter` stand behind one, too.
const OLD_SYSCALL_INSTRUCTION: [u8; 2] = [0xcd, 0x80];

/// The segments of 64-bit code, and of its stack.
const CODE: u64 = 0x33;
const STACK: u64 = 0x2b;

/// Addresses that a 32-bit program can name lie below this.
pub const NARROW_END: u64 = 1 << 32;

/// Which numbers system calls have, and what they are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Abi {
    /// That of 64-bit programs.
    #[default]
    Native,
    /// That of 32-bit programs (i386). A 64-bit program may make such a call, too.
    Ia32,
}

impl Abi {
    /// By which one a stopped thread has made the call that it stands in, or would make its next one.
    pub fn of(thread: Tid, registers: &GeneralRegisters) -> Self {
        if is_narrow(registers) {
            return Self::Ia32;
        }
        // Nobody else needs to be looked at.
        let is_inside = interrupted_call(registers).is_some_and(|(_, answer)| (-4095..0).contains(&answer));
        if is_inside { Self::behind(thread, registers.rip) } else { Self::Native }
    }

    /// By which one a thread makes a call that stands behind an instruction there.
    pub fn behind(thread: Tid, program: u64) -> Self {
        let mut found = [0; OLD_SYSCALL_INSTRUCTION.len()];
        let place = RemotePtr(program.wrapping_sub(found.len() as u64));
        let is_old = memory::read(Pid(thread.0), place, &mut found).is_ok() && found == OLD_SYSCALL_INSTRUCTION;
        if is_old { Self::Ia32 } else { Self::Native }
    }

    /// The number of restart_syscall(2).
    pub fn restart(self) -> i64 {
        match self {
            Self::Native => libc::SYS_restart_syscall,
            Self::Ia32 => 0,
        }
    }

    /// The instruction that makes a call, where the kernel lets a call be made again.
    pub fn instruction(self) -> [u8; 2] {
        match self {
            Self::Native => SYSCALL_INSTRUCTION,
            Self::Ia32 => OLD_SYSCALL_INSTRUCTION,
        }
    }

    /// The arguments of a call.
    pub fn arguments(self, registers: &GeneralRegisters) -> [u64; 6] {
        let GeneralRegisters { rbx, rcx, rdx, rsi, rdi, rbp, r10, r8, r9, .. } = *registers;
        match self {
            Self::Native => [rdi, rsi, rdx, r10, r8, r9],
            Self::Ia32 => [rbx, rcx, rdx, rsi, rdi, rbp].map(|argument| argument & 0xffff_ffff),
        }
    }

    /// Where the nth argument of a call stands.
    pub fn argument(self, registers: &mut GeneralRegisters, index: usize) -> &mut u64 {
        match (self, index) {
            (Self::Native, 0) | (Self::Ia32, 4) => &mut registers.rdi,
            (Self::Native, 1) | (Self::Ia32, 3) => &mut registers.rsi,
            (_, 2) => &mut registers.rdx,
            (Self::Native, 3) => &mut registers.r10,
            (Self::Native, 4) => &mut registers.r8,
            (Self::Native, _) => &mut registers.r9,
            (Self::Ia32, 0) => &mut registers.rbx,
            (Self::Ia32, 1) => &mut registers.rcx,
            (Self::Ia32, _) => &mut registers.rbp,
        }
    }
}

/// Whether a thread runs 32-bit code, user_64bit_mode() of the kernel.
pub fn is_narrow(registers: &GeneralRegisters) -> bool {
    registers.cs != CODE
}

/// Bytes that the kernel lets a leaf function use below the stack pointer (System V ABI); nothing may be put there.
pub const RED_ZONE: u64 = 128;

/// Size of one record of a batch in bytes.
pub const RECORD: usize = 80;

/// A record's flag: leave the batch if this call fails.
pub const STOP_AT_ERROR: u32 = 1;

/// A record's flag: no call, but a first use of AMX tiles of the shape that argument 0 points to. The kernel makes room for
/// a thread's tiles when it meets one (XFD), and takes none from a tracer before.
pub const USE_TILES: u32 = 2;

/// A record's flag: a call as 32-bit programs make it. What its arguments point to must lie where such a program could
/// have it.
pub const IA32: u32 = 4;

/// A shape of tiles as `ldtilecfg` takes it: tile 0 of 16 rows of 64 bytes.
pub fn tile_shape() -> [u8; 64] {
    let mut shape = [0; 64];
    (shape[0], shape[16], shape[48]) = (1, 64, 16);
    shape
}

/// A record's flag: argument `index` is the address of an earlier result.
pub const fn indirect(index: usize) -> u32 {
    1 << (8 + index)
}

/// Where the parts of a record lie.
pub mod record {
    /// The system call's number.
    pub const NUMBER: usize = 0;
    /// Flags.
    pub const FLAGS: usize = 8;
    /// Becomes 1 when the call has been made.
    pub const DONE: usize = 12;
    /// Six arguments.
    pub const ARGUMENTS: usize = 16;
    /// The kernel's answer.
    pub const RESULT: usize = 64;
}

/// Room for the return frame in bytes.
pub const FRAME: usize = 256;

/// How many bytes of it are used: four numbers, the signal mask, twenty registers.
pub const FRAME_USED: usize = 16 + 8 + 20 * 8;

// The loop that walks a batch. r12: the first record, r13: the end of them, r15: the return frame.
//
// At the end it sends its own thread a signal that nobody minds and that the tracer sees. If the tracer has died
// meanwhile, the signal is ignored and the thread goes on by itself: it takes its mask and registers from the return
// frame and is back where it was, as if nothing had happened. No stack of the thread is ever touched.
core::arch::global_asm!(
    ".pushsection .rodata.dormouse_stage, \"a\"",
    ".globl dormouse_stage_begin",
    ".globl dormouse_stage_end",
    "dormouse_stage_begin:",
    "1:",
    "cmp r12, r13",
    "jae 9f",
    "mov rdi, [r12 + 16]",
    "mov rsi, [r12 + 24]",
    "mov rdx, [r12 + 32]",
    "mov r10, [r12 + 40]",
    "mov r8, [r12 + 48]",
    "mov r9, [r12 + 56]",
    "mov eax, [r12 + 8]",
    "test eax, 0x3f00",
    "jz 8f",
    "test eax, 0x100",
    "jz 2f",
    "mov rdi, [rdi]",
    "2: test eax, 0x200",
    "jz 2f",
    "mov rsi, [rsi]",
    "2: test eax, 0x400",
    "jz 2f",
    "mov rdx, [rdx]",
    "2: test eax, 0x800",
    "jz 2f",
    "mov r10, [r10]",
    "2: test eax, 0x1000",
    "jz 2f",
    "mov r8, [r8]",
    "2: test eax, 0x2000",
    "jz 8f",
    "mov r9, [r9]",
    "8: test eax, 2",
    "jnz 7f",
    "test eax, 4",
    "jnz 5f",
    "mov rax, [r12]",
    "syscall",
    "6: mov [r12 + 64], rax",
    "mov dword ptr [r12 + 12], 1",
    "cmp rax, -4095",
    "jb 3f",
    "test dword ptr [r12 + 8], 1",
    "jnz 9f",
    "3: add r12, 80",
    "jmp 1b",
    "7: ldtilecfg [rdi]",
    "tilezero tmm0",
    "tilerelease",
    "xor eax, eax",
    "jmp 6b",
    "5: mov rbx, rdi",
    "mov rcx, rsi",
    "mov rsi, r10",
    "mov rdi, r8",
    "mov rbp, r9",
    "mov rax, [r12]",
    ".globl dormouse_stage_old_call",
    "dormouse_stage_old_call:",
    "int 0x80",
    "jmp 6b",
    // tgkill(tgid, tid, signal)
    "9: mov eax, 234",
    "mov edi, [r15]",
    "mov esi, [r15 + 4]",
    "mov edx, [r15 + 8]",
    "syscall",
    // Nobody has taken over: rt_sigprocmask(SIG_SETMASK, &mask, NULL, 8), then all registers, then iretq.
    ".globl dormouse_stage_back",
    "dormouse_stage_back:",
    "mov eax, 14",
    "mov edi, 2",
    "lea rsi, [r15 + 16]",
    "xor edx, edx",
    "mov r10d, 8",
    "syscall",
    "lea rsp, [r15 + 24]",
    "pop rax",
    "pop rbx",
    "pop rcx",
    "pop rdx",
    "pop rsi",
    "pop rdi",
    "pop rbp",
    "pop r8",
    "pop r9",
    "pop r10",
    "pop r11",
    "pop r12",
    "pop r13",
    "pop r14",
    "pop r15",
    "iretq",
    "dormouse_stage_end:",
    ".popsection",
);

unsafe extern "C" {
    static dormouse_stage_begin: u8;
    static dormouse_stage_old_call: u8;
    static dormouse_stage_back: u8;
    static dormouse_stage_end: u8;
}

/// The machine code of the loop, position independent.
pub fn stage_code() -> &'static [u8] {
    let (begin, end) = (&raw const dormouse_stage_begin, &raw const dormouse_stage_end);
    // SAFETY: both labels bound one read-only section of this program, defined just above.
    unsafe { std::slice::from_raw_parts(begin, end as usize - begin as usize) }
}

/// Where in it the way back begins, behind the call that sends the signal.
fn way_back() -> usize {
    (&raw const dormouse_stage_back) as usize - (&raw const dormouse_stage_begin) as usize
}

/// Where in it stands an `int 0x80`.
fn old_call() -> usize {
    (&raw const dormouse_stage_old_call) as usize - (&raw const dormouse_stage_begin) as usize
}

/// Whether a thread has walked its batch to the end, in the loop at `code`.
pub fn is_at_the_end(registers: &GeneralRegisters, code: RemotePtr) -> bool {
    registers.rip == code.0 + way_back() as u64
}

/// Whether a thread stands in the code of a stage or a foothold: an engine that was killed has left it there, and it is
/// about to find its way back.
pub fn is_on_its_way_back(tid: Tid, registers: &GeneralRegisters) -> bool {
    const PAGE: u64 = 4096;
    let Some(back) = stage_code().get(way_back()..) else { return false };
    // The code lies in one page: no further from here than it is long.
    let begin = registers.rip.saturating_sub(back.len() as u64).max(registers.rip & !(PAGE - 1));
    let end = registers.rip.saturating_add(stage_code().len() as u64).min(registers.rip | (PAGE - 1));
    let mut around = vec![0; (end - begin) as usize];
    if memory::read(Pid(tid.0), RemotePtr(begin), &mut around).is_err() {
        return false;
    }
    around.windows(back.len()).any(|bytes| bytes == back)
}

/// The code of a foothold: one system call, then the way back of the loop.
pub fn foothold_code() -> Vec<u8> {
    [SYSCALL_INSTRUCTION.as_slice(), stage_code().get(way_back()..).unwrap_or_default()].concat()
}

/// Puts a thread before the system call of a foothold.
pub fn enter_foothold(
    base: &GeneralRegisters,
    code: RemotePtr,
    frame: RemotePtr,
    call: (i64, [u64; 6]),
) -> GeneralRegisters {
    GeneralRegisters { r15: frame.0, ..enter_call(base, code, call.0, call.1) }
}

/// What the thread goes back to when the tracer is gone: registers that make the kernel's restart of an interrupted
/// call happen by themselves.
pub fn return_frame((pid, tid, marker): (i32, i32, i32), mask: u64, registers: &GeneralRegisters, abi: Abi) -> Vec<u8> {
    let back = restarted_by_hand(registers, abi);
    let mut frame = Vec::with_capacity(FRAME);
    for word in [pid, tid, marker, 0] {
        frame.extend(word.to_ne_bytes());
    }
    let words = [
        mask,
        back.rax,
        back.rbx,
        back.rcx,
        back.rdx,
        back.rsi,
        back.rdi,
        back.rbp,
        back.r8,
        back.r9,
        back.r10,
        back.r11,
        back.r12,
        back.r13,
        back.r14,
        back.r15,
        back.rip,
        back.cs,
        back.eflags,
        back.rsp,
        back.ss,
    ];
    frame.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    frame.resize(FRAME, 0);
    frame
}

/// Values that a call answers inside the kernel when a stop interrupted it (include/linux/errno.h). User mode never
/// sees them.
pub mod restart {
    /// Restarts unless a handler without SA_RESTART runs.
    pub const RESTARTSYS: i64 = -512;
    /// Restarts always.
    pub const RESTARTNOINTR: i64 = -513;
    /// Restarts if no handler runs.
    pub const RESTARTNOHAND: i64 = -514;
    /// Goes on with what the kernel remembers of it, by restart_syscall(2).
    pub const RESTART_RESTARTBLOCK: i64 = -516;
}

/// The number of the call a thread was interrupted in, and what it has answered so far.
pub fn interrupted_call(registers: &GeneralRegisters) -> Option<(i64, i64)> {
    let number = registers.orig_rax as i64;
    (number >= 0).then_some((number, registers.rax as i64))
}

/// What the kernel does on the way back to user mode when no signal is delivered: steps back onto the instruction that makes
/// the call.
pub fn restarted_by_hand(registers: &GeneralRegisters, abi: Abi) -> GeneralRegisters {
    let mut back = *registers;
    let Some((number, answer)) = interrupted_call(registers) else { return back };
    match answer {
        restart::RESTARTSYS | restart::RESTARTNOINTR | restart::RESTARTNOHAND => back.rax = number as u64,
        restart::RESTART_RESTARTBLOCK => back.rax = abi.restart() as u64,
        _ => return back,
    }
    back.rip -= SYSCALL_INSTRUCTION.len() as u64;
    back
}

/// Puts a thread at the start of the loop.
pub fn enter_stage(
    base: &GeneralRegisters,
    code: RemotePtr,
    records: RemotePtr,
    end: RemotePtr,
    frame: RemotePtr,
) -> GeneralRegisters {
    GeneralRegisters {
        rip: code.0,
        r12: records.0,
        r13: end.0,
        r15: frame.0,
        // No direction flag, no trap flag; interrupts as always.
        eflags: 0x202,
        // Not inside a system call: the kernel has nothing to restart.
        orig_rax: u64::MAX,
        cs: CODE,
        ss: STACK,
        ..*base
    }
}

/// Puts a thread before one system call at an instruction of its own.
pub fn enter_call(
    base: &GeneralRegisters,
    instruction: RemotePtr,
    number: i64,
    arguments: [u64; 6],
) -> GeneralRegisters {
    let [rdi, rsi, rdx, r10, r8, r9] = arguments;
    GeneralRegisters {
        rip: instruction.0,
        rax: number as u64,
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        eflags: 0x202,
        orig_rax: u64::MAX,
        cs: CODE,
        ss: STACK,
        ..*base
    }
}

/// The same before one call as a 32-bit program makes it, in the loop at `code`.
pub fn enter_old_call(base: &GeneralRegisters, code: RemotePtr, number: i64, arguments: [u64; 6]) -> GeneralRegisters {
    let mut registers = enter_call(base, code + old_call() as u64, number, [0; 6]);
    for (index, argument) in arguments.into_iter().enumerate() {
        *Abi::Ia32.argument(&mut registers, index) = argument;
    }
    registers
}

/// The bytes of [`jump`].
pub const JUMP: usize = 14;

/// A jump to any address that changes no register: `jmp [rip + 0]`, and the address behind it.
pub fn jump(target: u64) -> [u8; JUMP] {
    let mut code = [0xff, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    code[6..].copy_from_slice(&target.to_le_bytes());
    code
}

/// A function that is one system call of at most three arguments: `mov eax, number; syscall; ret`.
pub fn plain_call(number: i64) -> [u8; 8] {
    let [a, b, c, d] = (number as u32).to_le_bytes();
    [0xb8, a, b, c, d, 0x0f, 0x05, 0xc3]
}

/// The bytes of [`narrow_jump`].
pub const NARROW_JUMP: usize = 5;

/// A jump of 32-bit code at `from`, to any address it knows: `jmp`, and how far.
pub fn narrow_jump(from: u64, target: u64) -> [u8; NARROW_JUMP] {
    let far = (target as u32).wrapping_sub(from as u32).wrapping_sub(NARROW_JUMP as u32);
    let [a, b, c, d] = far.to_le_bytes();
    [0xe9, a, b, c, d]
}

/// The same as [`plain_call`] in 32-bit code, which has its arguments on the stack: `push ebx; mov ebx, [esp + 8]; mov ecx,
/// [esp + 12]; mov edx, [esp + 16]; mov eax, number; int 0x80; pop ebx; ret`.
pub fn narrow_plain_call(number: i64) -> [u8; 22] {
    let [a, b, c, d] = (number as u32).to_le_bytes();
    [0x53, 0x8b, 0x5c, 0x24, 8, 0x8b, 0x4c, 0x24, 12, 0x8b, 0x54, 0x24, 16, 0xb8, a, b, c, d, 0xcd, 0x80, 0x5b, 0xc3]
}

/// The kernel's answer to the call a thread has just left.
pub fn call_result(registers: &GeneralRegisters) -> i64 {
    registers.rax as i64
}
