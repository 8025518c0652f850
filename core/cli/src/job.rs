//! A job in the foreground, as a shell has it: it gets the terminal, Ctrl-Z gives it back, and its end is ours.
//!
//! The signals that matter are blocked and taken one by one, sigwait(3): SIGCHLD says that the job has changed,
//! SIGCONT that the person's shell has continued us (`fg` or `bg`), and what should end us goes on to the job.

use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::termios::Termios;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgid, getpgrp};

use crate::exit::Failure;
use crate::terminal::Terminal;

/// The signals that are taken one by one. SIGTTOU is blocked so that we may give and take a terminal we do not have.
const TAKEN: [Signal; 5] = [Signal::SIGCHLD, Signal::SIGCONT, Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM];

/// Between a stop and the next.
const BREATH: Duration = Duration::from_millis(100);

/// Gives the terminal to the process group where it does not have it yet, continues it, and stays until the job has
/// ended. Answers its status.
///
/// `roots` are our children among the group; those of them that are in the process group make the job.
pub fn attend(terminal: &Terminal, group: Pid, roots: &[Pid]) -> Result<u8, Failure> {
    let failed = |errno: Errno| Failure::system("The job runs, but cannot be waited for", &errno.into());
    let taken: SigSet = TAKEN.into_iter().collect();
    let mut blocked = taken;
    blocked.add(Signal::SIGTTOU);
    blocked.thread_block().map_err(failed)?;

    let in_group: Vec<Pid> = roots.iter().copied().filter(|&root| getpgid(Some(root)) == Ok(group)).collect();
    // A shell among the roots has put its jobs into groups of their own: then the shell is what we wait for.
    let members = if in_group.is_empty() { roots } else { &in_group };
    let mut seat =
        Seat { terminal, group, job: Job::new(members), has_terminal: terminal.is_of(group), settings: None };
    if !seat.has_terminal && terminal.is_ours() {
        seat.hand_over();
    }
    seat.carry_on();
    loop {
        seat.job.note_all().map_err(failed)?;
        match seat.job.state() {
            State::Ended(status) => {
                seat.take_back();
                return Ok(status);
            }
            State::Stopped(signal) => seat.stopped(signal),
            State::Running => match taken.wait().map_err(failed)? {
                Signal::SIGCHLD => {}
                Signal::SIGCONT => seat.continued(),
                ending => seat.pass_on(ending),
            },
        }
    }
}

/// The job and who has the terminal.
struct Seat<'a> {
    terminal: &'a Terminal,
    group: Pid,
    job: Job,
    has_terminal: bool,
    settings: Option<Termios>,
}

impl Seat<'_> {
    fn hand_over(&mut self) {
        if let Some(settings) = self.settings.take() {
            self.terminal.set(&settings);
        }
        self.has_terminal = self.terminal.give(self.group).is_ok();
    }

    fn take_back(&mut self) {
        if self.has_terminal {
            self.settings = self.terminal.take_back();
            self.has_terminal = false;
        }
    }

    fn carry_on(&mut self) {
        self.job.runs();
        self.pass_on(Signal::SIGCONT);
    }

    fn pass_on(&self, signal: Signal) {
        // A group that is gone has ended, which the next look at the children tells.
        let _ = killpg(self.group, signal);
    }

    /// The job has stopped: so do we, and with us whoever runs us, so that the person's shell takes over.
    fn stopped(&mut self, signal: Signal) {
        let wants_terminal = matches!(signal, Signal::SIGTTIN | Signal::SIGTTOU);
        if wants_terminal && !self.has_terminal && self.terminal.is_ours() {
            // `fg` does not tell a job that runs in the background: it finds out when it touches the terminal.
            self.hand_over();
        } else {
            self.take_back();
            // Where no shell could continue us, the kernel does not stop us: then the job runs on too.
            let _ = killpg(getpgrp(), Signal::SIGTSTP);
            if self.terminal.is_ours() {
                self.hand_over();
            } else {
                // A job that nobody stops and that has no terminal could stop at once again, and again.
                thread::sleep(BREATH);
            }
        }
        self.carry_on();
    }

    /// Our shell has continued us, with the terminal (`fg`) or without (`bg`).
    fn continued(&mut self) {
        if !self.has_terminal && self.terminal.is_ours() {
            self.hand_over();
        }
        self.carry_on();
    }
}

/// The children that make the job.
#[derive(Debug)]
struct Job {
    members: Vec<(Pid, State)>,
}

/// What a member, or the whole job, is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Stopped(Signal),
    Ended(u8),
}

impl Job {
    fn new(members: &[Pid]) -> Self {
        Self { members: members.iter().map(|&pid| (pid, State::Running)).collect() }
    }

    /// Notes every change of a child since the last time.
    fn note_all(&mut self) -> nix::Result<()> {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
                Ok(WaitStatus::StillAlive) => return Ok(()),
                Ok(status) => self.note(status),
                Err(Errno::EINTR) => {}
                Err(Errno::ECHILD) => {
                    self.all_gone();
                    return Ok(());
                }
                Err(errno) => return Err(errno),
            }
        }
    }

    fn note(&mut self, status: WaitStatus) {
        let (pid, state) = match status {
            WaitStatus::Exited(pid, code) => (pid, State::Ended(code as u8)),
            WaitStatus::Signaled(pid, signal, _) => (pid, State::Ended(128 + signal as u8)),
            WaitStatus::Stopped(pid, signal) => (pid, State::Stopped(signal)),
            _ => return,
        };
        if let Some(member) = self.members.iter_mut().find(|member| member.0 == pid) {
            member.1 = state;
        }
    }

    /// No child is left: whoever has not been heard of ended unseen.
    fn all_gone(&mut self) {
        for member in &mut self.members {
            if !matches!(member.1, State::Ended(_)) {
                member.1 = State::Ended(0);
            }
        }
    }

    /// Whoever was stopped has been continued.
    fn runs(&mut self) {
        for member in &mut self.members {
            if matches!(member.1, State::Stopped(_)) {
                member.1 = State::Running;
            }
        }
    }

    /// A job runs while one member does, and is stopped when the rest has ended. Its status is the last member's, as in
    /// a pipeline.
    fn state(&self) -> State {
        let mut state = State::Ended(0);
        for &(_, member) in &self.members {
            state = match (state, member) {
                (_, State::Running) => return State::Running,
                (State::Stopped(signal), State::Ended(_)) => State::Stopped(signal),
                (_, member) => member,
            };
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;
    use nix::sys::wait::WaitStatus;
    use nix::unistd::Pid;

    use super::{Job, State};

    #[test]
    fn a_pipeline_stops_with_its_last_runner_and_ends_with_its_last_member() {
        let [cat, less] = [1, 2].map(Pid::from_raw);
        let mut job = Job::new(&[cat, less]);
        job.note(WaitStatus::Stopped(cat, Signal::SIGTSTP));
        assert_eq!(job.state(), State::Running);
        job.note(WaitStatus::Stopped(less, Signal::SIGTSTP));
        assert_eq!(job.state(), State::Stopped(Signal::SIGTSTP));
        job.runs();
        assert_eq!(job.state(), State::Running);
        job.note(WaitStatus::Exited(cat, 3));
        job.note(WaitStatus::Stopped(less, Signal::SIGTTIN));
        assert_eq!(job.state(), State::Stopped(Signal::SIGTTIN));
        job.note(WaitStatus::Signaled(less, Signal::SIGKILL, false));
        assert_eq!(job.state(), State::Ended(137));
    }

    #[test]
    fn a_child_that_is_no_member_changes_nothing() {
        let mut job = Job::new(&[Pid::from_raw(1)]);
        job.note(WaitStatus::Exited(Pid::from_raw(9), 1));
        assert_eq!(job.state(), State::Running);
        job.all_gone();
        assert_eq!(job.state(), State::Ended(0));
    }
}
