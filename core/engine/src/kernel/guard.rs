//! A small process that outlives the engine for a moment: should the engine be killed while it lets go of a group one
//! process after the other, it ends the whole group, so that no half of it runs.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};

use super::clone::CloneArguments;
use super::{Answer, Errno};

/// A guard. Dropped, or left behind by an engine that was killed, it ends the processes it was given.
#[derive(Debug)]
pub struct Guard {
    pid: i32,
    line: Option<File>,
}

impl Guard {
    /// Begins to guard these processes, which are named by their pidfds.
    pub fn begin(processes: &[OwnedFd]) -> Answer<Self> {
        let (ear, line) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let numbers: Vec<i32> = processes.iter().map(AsRawFd::as_raw_fd).collect();
        // Whatever else is open must not stay open for as long as the guard lives.
        let mut kept = numbers.clone();
        kept.push(ear.as_raw_fd());
        kept.sort_unstable();
        let arguments = CloneArguments { exit_signal: libc::SIGCHLD as u64, ..CloneArguments::default() };
        // SAFETY: without CLONE_VM the child has its own copy of our memory; the arguments live across the call.
        let made = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) };
        match made {
            -1 => Err(Errno::last()),
            0 => stand_by(ear.as_raw_fd(), &kept, &numbers),
            pid => Ok(Self { pid: pid as i32, line: Some(File::from(line)) }),
        }
    }

    /// The processes are no longer in its care: from this one system call on, they live whatever becomes of the engine.
    pub fn dismiss(&mut self) {
        if let Some(mut line) = self.line.take() {
            // A guard that is gone already guards nobody.
            let _ = line.write_all(&[1]);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.line.take());
        // SAFETY: a null status is allowed.
        while unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), libc::__WALL) } == -1
            && Errno::last() == Errno::EINTR
        {}
    }
}

/// What the guard does. It is a copy of the engine, but of all its code it runs only these few system calls: no
/// allocation, no lock, so that it does not matter what other threads held when it was copied.
fn stand_by(ear: i32, kept: &[i32], processes: &[i32]) -> ! {
    let all = u64::MAX;
    let none = std::ptr::null_mut::<u64>();
    // SAFETY: reads one mask, which lives through the call.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, none, size_of::<u64>()) };
    let mut next = 0;
    for number in kept {
        if *number > next {
            // SAFETY: takes numbers only; what is closed is this process's own copy.
            unsafe { libc::syscall(libc::SYS_close_range, next, *number - 1, 0) };
        }
        next = *number + 1;
    }
    // SAFETY: takes numbers only.
    unsafe { libc::syscall(libc::SYS_close_range, next, libc::c_uint::MAX, 0) };
    let mut word = 0u8;
    loop {
        // SAFETY: writes one byte, which lives through the call.
        match unsafe { libc::syscall(libc::SYS_read, ear, &raw mut word, 1) } {
            0 => break,
            1 => leave(),
            _ => {}
        }
    }
    for process in processes {
        let none = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a null siginfo is allowed and means what kill(2) would send.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, *process, libc::SIGKILL, none, 0) };
    }
    leave()
}

fn leave() -> ! {
    loop {
        // SAFETY: takes a number, and does not return.
        unsafe { libc::syscall(libc::SYS_exit_group, 0) };
    }
}
