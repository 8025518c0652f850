//! A 64-bit program one of whose threads runs 32-bit code and sleeps in a system call of that sort; another thread sleeps in the same call,
//! made from 64-bit code.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::interrupted::LIMIT;
use crate::kernel::{stands_in, tid};
use crate::stage::{Held, Stage, Trouble};

/// nanosleep(2) of 32-bit programs, by its number.
const NANOSLEEP: u32 = 162;
/// The segments of both sorts of code.
const WIDE: u64 = 0x33;
const NARROW: u64 = 0x23;
/// What stands in registers during the call.
const KEPT: [u32; 3] = [0x1122_3344, 0x5566_7788, 0x99aa_bbcc];

const PAGE: usize = 4096;

/// Memory where 32-bit code can have it: the code, the way back in 64-bit code, the stack, the time, what is kept for the way back, and
/// what the code found.
#[derive(Clone, Copy)]
struct Low(usize);

impl Low {
    const BACK: usize = 1024;
    const STACK: usize = 3 * PAGE - 256;
    const TIME: usize = 3 * PAGE;
    const SAVED: usize = 3 * PAGE + 64;
    const FOUND: usize = 3 * PAGE + 128;

    fn new() -> Result<Self, Trouble> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        // SAFETY: new memory, wherever there is room.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), 4 * PAGE, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error().into());
        }
        let low = Self(start as usize);
        low.put(0, &low.there());
        low.put(Self::BACK, &low.back());
        low.put(Self::TIME, &(LIMIT.as_secs() as u32).to_le_bytes());
        low.put(Self::FOUND, &[0xff; 20]);
        // For `retfq`, and for `retf` in 32-bit code.
        let frame = [low.0 as u64, NARROW, (low.0 + Self::BACK) as u64 | WIDE << 32];
        low.put(Self::STACK, &frame.map(u64::to_le_bytes).concat());
        Ok(low)
    }

    fn put(self, at: usize, bytes: &[u8]) {
        // SAFETY: all of it lies in what was mapped, and no reference to it is anywhere.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), (self.0 + at) as *mut u8, bytes.len()) };
    }

    fn found(self) -> [u32; 5] {
        // SAFETY: it was mapped and written, and the thread that changes it has come back.
        unsafe { ((self.0 + Self::FOUND) as *const [u32; 5]).read_volatile() }
    }

    fn word(self, at: usize) -> [u8; 4] {
        ((self.0 + at) as u32).to_le_bytes()
    }

    /// `mov eax, NANOSLEEP; mov ebx, time; xor ecx, ecx; mov edx, …; mov esi, …; mov edi, …; int 0x80`, then what is found goes to its
    /// place, and `retf`.
    fn there(self) -> Vec<u8> {
        let mut code = vec![0xb8];
        code.extend(NANOSLEEP.to_le_bytes());
        code.push(0xbb);
        code.extend(self.word(Self::TIME));
        code.extend([0x31, 0xc9]);
        for (mov, kept) in [0xba, 0xbe, 0xbf].into_iter().zip(KEPT) {
            code.push(mov);
            code.extend(kept.to_le_bytes());
        }
        code.extend([0xcd, 0x80, 0xa3]);
        code.extend(self.word(Self::FOUND));
        for (register, place) in [(0x15, 4), (0x35, 8), (0x3d, 12)] {
            code.extend([0x89, register]);
            code.extend(self.word(Self::FOUND + place));
        }
        // mov eax, cs; mov [found], eax
        code.extend([0x8c, 0xc8, 0xa3]);
        code.extend(self.word(Self::FOUND + 16));
        code.push(0xcb);
        code
    }

    /// `mov ecx, saved; mov rsp, [rcx]; mov rbx, [rcx + 8]; mov rbp, [rcx + 16]; jmp [rcx + 24]`.
    fn back(self) -> Vec<u8> {
        let mut code = vec![0xb9];
        code.extend(self.word(Self::SAVED));
        code.extend([0x48, 0x8b, 0x21, 0x48, 0x8b, 0x59, 8, 0x48, 0x8b, 0x69, 16, 0xff, 0x61, 24]);
        code
    }

    /// Runs the 32-bit code.
    fn go(self) {
        // SAFETY: the code keeps to the memory that was mapped for it, and comes back to the label with the stack and the two registers
        // that are kept for it; all others that it or the kernel may change are named.
        unsafe {
            core::arch::asm!(
                "mov [rcx], rsp",
                "mov [rcx + 8], rbx",
                "mov [rcx + 16], rbp",
                "lea rax, [rip + 2f]",
                "mov [rcx + 24], rax",
                // 32-bit code has its data in a segment, too.
                "mov eax, 0x2b",
                "mov ds, eax",
                "mov es, eax",
                "mov rsp, rdx",
                "retfq",
                "2:",
                inout("rcx") self.0 + Self::SAVED => _,
                inout("rdx") self.0 + Self::STACK => _,
                out("rax") _, out("rsi") _, out("rdi") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            );
        }
    }

    /// Makes the same call from 64-bit code.
    fn call(self) -> u32 {
        let mut answer = NANOSLEEP;
        // SAFETY: the call reads a time that was mapped, and writes nothing; rbx is put back.
        unsafe {
            core::arch::asm!(
                "xchg rbx, {time}", "int 0x80", "xchg rbx, {time}",
                time = inout(reg) self.0 + Self::TIME => _,
                inout("eax") answer, in("ecx") 0, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            );
        }
        answer
    }
}

pub fn hold(stage: &mut Stage) -> Held {
    let low = Low::new()?;
    let (say, heard) = channel();
    let mut started = Vec::new();
    for narrow in [true, false] {
        let (say, (say_tid, its_tid)) = (say.clone(), channel());
        std::thread::spawn(move || {
            let _ = say_tid.send(tid());
            let begin = Instant::now();
            let answer = if narrow {
                low.go();
                low.found()[0]
            } else {
                low.call()
            };
            let _ = say.send((narrow, answer, begin.elapsed()));
            loop {
                std::thread::park();
            }
        });
        started.push(its_tid.recv()?);
    }
    for thread in started {
        stage.wrong.holds("the thread stands in its call", stands_in(thread, NANOSLEEP.into()));
    }
    stage.ready_and_wait()?;
    for _ in 0..2 {
        let (narrow, answer, after) = heard.recv_timeout(Duration::from_secs(40))?;
        stage.wrong.equal("the answer of the call", answer, 0);
        if after < LIMIT {
            stage.wrong.say(format!("the call (in 32-bit code: {narrow}) has ended after {after:?}"));
        }
    }
    let [_, kept @ .., segment] = low.found();
    stage.wrong.equal("its registers", kept, KEPT);
    stage.wrong.equal("its segment", u64::from(segment & 0xffff), NARROW);
    Ok(())
}
