//! Runs the command and kills it at its nth system call: every moment at which anybody outside could see a difference.
//!
//! The command is traced, with all its threads. Processes that it makes itself are not: those it traces on its own.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::command;
use harness::group::MARK;
use harness::process::numbers_in;

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was killed at the system call that was asked for.
    Killed,
    /// It ended by itself before, after so many system calls, with this status of wait(2).
    Ended {
        /// How many.
        calls: usize,
        /// The status.
        status: i32,
    },
}

/// Longer than any run may take.
const LIMIT: Duration = Duration::from_mins(2);

/// Runs the command until its `nth` system call, counted from 1 over all its threads.
pub fn run(arguments: &[&str], notes: &Path, nth: usize) -> End {
    let path = notes.join("killed.err");
    let errors = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut command = Command::new(command::path());
    command.args(arguments).env_remove(MARK).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    // SAFETY: between fork and exec it makes one system call.
    unsafe { command.pre_exec(|| traced(libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0))) };
    // It is waited for below, by its pid, with all its threads.
    #[allow(clippy::zombie_processes)]
    let child = command.spawn().unwrap_or_else(|error| panic!("dormouse does not start: {error}"));
    Trace { pid: child.id() as i32, inside: HashMap::new(), calls: 0, nth, killed: false }.follow()
}

fn traced(answer: i64) -> std::io::Result<()> {
    if answer == -1 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

struct Trace {
    pid: i32,
    /// By thread: whether it is inside a system call.
    inside: HashMap<i32, bool>,
    calls: usize,
    nth: usize,
    killed: bool,
}

impl Trace {
    fn follow(mut self) -> End {
        let begin = Instant::now();
        loop {
            assert!(begin.elapsed() < LIMIT, "the command does not end");
            let mut status = 0;
            // SAFETY: `status` lives through the call. Children of the test that end meanwhile are buried along the way.
            let tid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
            if tid == self.pid && !libc::WIFSTOPPED(status) {
                self.end_children();
                return if self.killed { End::Killed } else { End::Ended { calls: self.calls, status } };
            }
            assert!(tid > 0, "waiting for the command: {}", std::io::Error::last_os_error());
            if libc::WIFSTOPPED(status) {
                self.stopped(tid, status);
            }
        }
    }

    /// Processes that the command has made without a signal at their end are traced as its threads are: they must not stay
    /// stopped behind it.
    fn end_children(&self) {
        // SAFETY: takes nothing.
        let traced_here = format!("TracerPid:\t{}\n", unsafe { libc::gettid() });
        for pid in numbers_in("/proc").into_iter().filter(|pid| *pid != self.pid) {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            if status.contains(&traced_here) {
                // SAFETY: kills a child of the command, which this thread traces; it is buried along the way.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
    }

    fn stopped(&mut self, tid: i32, status: i32) {
        let signal = libc::WSTOPSIG(status);
        let first = !self.inside.contains_key(&tid);
        let inside = self.inside.entry(tid).or_default();
        if first && tid == self.pid {
            let options = libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
            // SAFETY: takes numbers only.
            let set = unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, tid, 0, options) };
            traced(set).unwrap_or_else(|error| panic!("the command cannot be traced: {error}"));
        }
        let mut deliver = 0;
        if signal == libc::SIGTRAP | 0x80 {
            *inside = !*inside;
            self.calls += usize::from(*inside);
            if *inside && self.calls == self.nth {
                self.killed = true;
                // SAFETY: kills the command that was started here.
                unsafe { libc::kill(self.pid, libc::SIGKILL) };
            }
        } else if status >> 16 == 0 && !first && signal != libc::SIGTRAP {
            deliver = signal;
        }
        // SAFETY: takes numbers only; a thread that has just been killed is gone, which the next wait tells.
        unsafe { libc::ptrace(libc::PTRACE_SYSCALL, tid, 0, deliver) };
    }
}
