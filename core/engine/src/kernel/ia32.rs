//! What the kernel has for 32-bit programs: a child of the engine that has taken on what the kernel maps into such a
//! program, and has made a system call as one. Where the kernel runs none, it has died of that.

use std::ffi::CString;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use dormouse_wire::Pid;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::bystander::called;
use super::clone::CloneArguments;
use super::{Answer, Errno, checked};

/// arch_prctl(2), asm/prctl.h: maps what the kernel has for programs of a sort, CONFIG_CHECKPOINT_RESTORE.
pub const ARCH_MAP_VDSO_32: i32 = 0x2002;
/// The same for 64-bit programs.
pub const ARCH_MAP_VDSO_64: i32 = 0x2003;

/// A child that waits. Dropped, it is gone.
#[derive(Debug)]
pub struct Bearer {
    pid: Pid,
    called: Pid,
}

impl Bearer {
    /// Makes one; `kernels`: where in this process lies what the kernel has mapped into it. ENOSYS: this kernel runs no 32-bit programs.
    ///
    /// The child is a copy of the engine and must neither allocate nor take a lock: it makes system calls only.
    pub fn new(kernels: &[(u64, u64)]) -> Answer<Self> {
        let (mut answers, mut says) = std::io::pipe().map_err(|_| Errno::EMFILE)?;
        let (arguments, parent) = (CloneArguments::default(), std::process::id());
        // SAFETY: without CLONE_VM the child has its own copy of our memory; the arguments live across the call.
        let made = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) };
        if made == 0 {
            let done = become_narrow(kernels, parent, says.as_raw_fd() as u32);
            let error = done.err().map_or(0, |errno| errno as i32);
            let _ = says.write_all(&error.to_ne_bytes());
            loop {
                // SAFETY: both calls take integers only; the first one returns where there was nothing to wait for.
                unsafe { libc::syscall(if error == 0 { libc::SYS_pause } else { libc::SYS_exit }, 1) };
            }
        }
        let pid = Pid(checked(made)? as i32);
        let mut bearer = Self { pid, called: pid };
        drop(says);
        let mut error = [0; 4];
        // It has died where it made the call.
        answers.read_exact(&mut error).map_err(|_| Errno::ENOSYS)?;
        match i32::from_ne_bytes(error) {
            0 => {
                bearer.called = Pid(called(pid)?.0);
                Ok(bearer)
            }
            errno => Err(Errno::from_raw(errno)),
        }
    }

    /// As it is called where it is made.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// As it is called where it lives: children of the engine may be in another pid namespace.
    pub fn called(&self) -> Pid {
        self.called
    }
}

impl Drop for Bearer {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.pid.0);
        let _ = kill(pid, Signal::SIGKILL);
        // Without a signal at its end, clone(2), it is waited for by __WALL only.
        let _ = waitpid(pid, Some(WaitPidFlag::__WALL));
    }
}

/// Whether this kernel runs 32-bit programs: a child has made a system call as one, and has not died of it.
pub fn runs() -> bool {
    static RUNS: OnceLock<bool> = OnceLock::new();
    *RUNS.get_or_init(|| {
        let arguments = CloneArguments::default();
        // SAFETY: without CLONE_VM the child has its own copy of our memory; the arguments live across the call.
        let made = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) };
        if made == 0 {
            let status = i32::from(make_a_call().is_err());
            loop {
                // SAFETY: takes an integer, and does not return.
                unsafe { libc::syscall(libc::SYS_exit, status) };
            }
        }
        // Without a signal at its end, clone(2), it is waited for by __WALL only.
        let ended = checked(made).map(|pid| waitpid(nix::unistd::Pid::from_raw(pid as i32), Some(WaitPidFlag::__WALL)));
        matches!(ended, Ok(Ok(WaitStatus::Exited(_, 0))))
    })
}

/// Opens a file that exists as a 32-bit program does, without O_LARGEFILE, which open(2) and openat2(2) add for those of 64 bits. ENOSYS:
/// this kernel runs no such programs.
pub fn open(path: &Path, flags: i32) -> Answer<OwnedFd> {
    const OPENAT: u64 = 295;
    if !runs() {
        return Err(Errno::ENOSYS);
    }
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let path = path.as_bytes_with_nul();
    let flags = flags | libc::O_CLOEXEC | libc::O_NOCTTY;
    let (protection, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: new memory, where such a call can be given it; the path fits, and is not read after it is gone. The call writes nothing; rbx
    // is put back, and what the kernel may change is named.
    let answer = unsafe {
        let place = libc::mmap(std::ptr::null_mut(), path.len(), protection, kind | libc::MAP_32BIT, -1, 0);
        if place == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        std::ptr::copy_nonoverlapping(path.as_ptr(), place.cast::<u8>(), path.len());
        let mut answer = OPENAT;
        core::arch::asm!(
            "xchg rbx, {folder}", "int 0x80", "xchg rbx, {folder}",
            folder = inout(reg) u64::from(libc::AT_FDCWD as u32) => _,
            inout("rax") answer, in("rcx") place, in("rdx") flags, in("rsi") 0,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
        libc::munmap(place, path.len());
        answer as i32
    };
    if answer < 0 {
        return Err(Errno::from_raw(-answer));
    }
    // SAFETY: the kernel has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(answer) })
}

/// A process has one vdso only: that of the engine goes first.
fn become_narrow(kernels: &[(u64, u64)], parent: u32, kept: u32) -> Answer<()> {
    /// Where the engine has nothing.
    const PLACE: u64 = 1 << 28;
    // SAFETY: the raw calls change this one process, in which nothing else runs; what they unmap is not used any more, for
    // from here on it makes system calls only, none of them through the vdso.
    unsafe {
        checked(libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
        let above = checked(libc::syscall(libc::SYS_getppid))?;
        // From a pid namespace further in, the engine is not seen.
        if above != u64::from(parent) && above != 0 {
            return Err(Errno::ECHILD);
        }
        if kept > 0 {
            checked(libc::syscall(libc::SYS_close_range, 0, kept - 1, 0))?;
        }
        checked(libc::syscall(libc::SYS_close_range, kept + 1, u32::MAX, 0))?;
        for (start, end) in kernels {
            checked(libc::syscall(libc::SYS_munmap, *start, end - start))?;
        }
        checked(libc::syscall(libc::SYS_arch_prctl, ARCH_MAP_VDSO_32, PLACE)).map_err(|_| Errno::ENOSYS)?;
    }
    make_a_call()
}

/// Asks for the number of this process as a 32-bit program does; where the kernel runs none, that ends it.
fn make_a_call() -> Answer<()> {
    const GETPID: u32 = 20;
    end_at_signal(libc::SIGSEGV);
    let mut answer = GETPID;
    // SAFETY: a system call without arguments that writes to no memory; the kernel keeps all registers but that of the answer, and
    // older ones those from r8 to r11.
    unsafe {
        core::arch::asm!("int 0x80", inout("eax") answer, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    if answer == 0 { Err(Errno::ENOSYS) } else { Ok(()) }
}

/// Lets a signal end this process, whatever the engine does at it; and without a core.
fn end_at_signal(signal: i32) {
    // SAFETY: both calls read one structure that lives across them, and write none.
    unsafe {
        let default: [u64; 4] = [0; 4];
        libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), 0, 8);
        let none = [0_u64; 2];
        libc::syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_CORE, none.as_ptr(), 0);
    }
}
