//! A user whom nobody else on the machine is, with programs of his: what tests of sessions put to sleep, and nobody else's work.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, fchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::specimen::without_inheritance;
use crate::wait::{PATIENCE, until};
use crate::{command, pids};

/// Counts, in a line for each number.
pub const COUNTER: &str = "import time\ni = 0\nwhile True:\n    print(i)\n    i += 1\n    time.sleep(0.05)\n";

/// Connected to a socket `outside`, which is to be somebody else's.
pub const TIED: &str = "import socket, time\nclient = socket.socket(socket.AF_UNIX)\n\
                        client.connect('outside')\nwhile True:\n    print('tied')\n    time.sleep(0.05)\n";

/// Counts, and has a child that can end without a trace; says its pid first.
pub const PARENT: &str = "import os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nchild = os.fork()\n\
                          while child == 0:\n    time.sleep(1)\nprint('child', child)\ni = 0\n\
                          while True:\n    print(i)\n    i += 1\n    time.sleep(0.05)\n";

fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// The user, for this process and those it starts, with a home.
#[derive(Debug)]
pub struct Stage {
    user: u32,
    folder: TempDir,
}

impl Stage {
    /// With a number that no other test has: every group of the user's may be put to sleep.
    pub fn new(user: u32) -> Self {
        // What is thawed becomes ours to wait for.
        done(nix::sys::prctl::set_child_subreaper(true));
        let folder = done(tempfile::Builder::new().prefix("dormouse-session-").tempdir());
        done(fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)));
        let stage = Self { user, folder };
        done(fs::create_dir(stage.home()));
        done(chown(stage.home(), Some(user), Some(user)));
        let none: Option<&str> = None;
        done(unshare(CloneFlags::CLONE_NEWNS));
        done(mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none));
        let account = format!("cora{user}:x:{user}:{user}::{}:/bin/sh\n", stage.home().display());
        let file = stage.folder().join("passwd");
        done(fs::write(&file, done(fs::read_to_string("/etc/passwd")) + &account));
        done(mount(Some(&file), "/etc/passwd", none, MsFlags::MS_BIND, none));
        stage
    }

    /// The user's number.
    pub fn user(&self) -> u32 {
        self.user
    }

    /// A folder of root's, which goes with the stage.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The user's home, in that folder.
    pub fn home(&self) -> PathBuf {
        self.folder().join("home")
    }

    /// In the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    /// The names of the user's images.
    pub fn images(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path(".local/share/dormouse")).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.ends_with(".dormouse")).collect()
    }

    /// Starts a program of the user's in a session of its own; what it says goes into a file.
    pub fn start(&self, name: &str, program: &str, arguments: &[&str]) -> Program {
        let path = self.said_in(name);
        let out = done(File::options().append(true).open(&path));
        let err = done(out.try_clone());
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(out).stderr(err);
        // SAFETY: setsid(2) is safe between fork and exec.
        unsafe { command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(Into::into)) };
        let child = done(without_inheritance(self.of_user(&mut command)).spawn());
        Program { name: name.to_owned(), pid: child.id() as i32, child: Some(child), out: path }
    }

    /// The file for what a program says.
    fn said_in(&self, name: &str) -> PathBuf {
        let path = self.path(&format!("{name}.out"));
        let out = done(File::options().append(true).create(true).open(&path));
        done(fchown(&out, Some(self.user), Some(self.user)));
        path
    }

    /// The files for a script, and for what it says.
    fn script(&self, name: &str, script: &str) -> (PathBuf, PathBuf) {
        let file = self.path(&format!("{name}.py"));
        done(fs::write(&file, script));
        (file, self.said_in(name))
    }

    /// The same for a script in Python.
    pub fn python(&self, name: &str, script: &str) -> Program {
        let (file, _) = self.script(name, script);
        self.start(name, "python3", &["-u", &file.to_string_lossy()])
    }

    /// The same with this pid, which nobody has.
    pub fn python_at(&self, pid: i32, name: &str, script: &str) -> Program {
        let (file, out) = self.script(name, script);
        let command = ["python3", "-u", &file.to_string_lossy()].map(|word| done(CString::new(word)));
        pids::start_at(pid, self.user, &command, &done(File::options().append(true).open(&out)));
        Program { name: name.to_owned(), pid, child: None, out }
    }

    /// Lets a program be the user's.
    pub fn of_user<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.current_dir(self.home()).env("HOME", self.home()).uid(self.user).gid(self.user)
    }

    /// `dormouse`, run by root for the user.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(command::path());
        command.args(arguments).args(["--user", &self.user.to_string()]).stdin(Stdio::null());
        without_inheritance(&mut command);
        command
    }

    /// The same to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        ended(&mut self.command(arguments))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // All of this user's are of this test, whatever pids they have by now.
        for entry in done(fs::read_dir("/proc")).flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(pid) = pid
                && entry.metadata().is_ok_and(|found| found.uid() == self.user)
            {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

/// Runs a command to its end, and tells of it.
pub fn ended(command: &mut Command) -> Output {
    let output = done(command.output());
    eprintln!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    output
}

/// Waits for a command that puts programs to sleep and wakes them again. Those who end are waited for meanwhile, as a shell does it: else
/// nobody could have their pids.
pub fn ended_beside(mut child: Child, programs: &[&Program]) -> Output {
    let end = until(PATIENCE, || {
        for program in programs {
            let _ = waitpid(Pid::from_raw(program.pid), Some(WaitPidFlag::WNOHANG));
        }
        done(child.try_wait())
    });
    if end.is_none() {
        let _ = child.kill();
    }
    let output = done(child.wait_with_output());
    assert!(end.is_some(), "it does not end: {}", said(&output));
    output
}

/// While a command puts a session to sleep and has not come far, some of those that it means end, and strangers get their pids: these
/// are answered, and how the command has ended. `ends`: a program and a child of another one, which are older than all others.
pub fn taken_by_strangers(
    stage: &Stage,
    command: Child,
    (ends, child): (&mut Program, i32),
    others: &[&Program],
) -> ([Program; 2], Output) {
    let some = until(PATIENCE, || (!stage.images().is_empty()).then_some(()));
    assert!(some.is_some(), "nothing falls asleep");
    let command_pid = Pid::from_raw(command.id() as i32);
    // Whoever is at it now falls asleep; nobody else's turn comes.
    done(kill(command_pid, Signal::SIGSTOP));
    assert!(ends.runs(), "it was too late");
    done(kill(Pid::from_raw(ends.pid), Signal::SIGKILL));
    ends.is_gone();
    done(kill(Pid::from_raw(child), Signal::SIGKILL));
    let gone = until(PATIENCE, || (!Path::new(&format!("/proc/{child}")).exists()).then_some(()));
    assert!(gone.is_some(), "{child} is still there");
    let strangers = [ends.pid, child].map(|pid| stage.python_at(pid, &format!("stranger-{pid}"), COUNTER));
    strangers.iter().for_each(Program::goes_on);
    done(kill(command_pid, Signal::SIGCONT));
    (strangers, ended_beside(command, others))
}

/// What a command has written to standard error, in one line.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A program of the user's.
#[derive(Debug)]
pub struct Program {
    /// What the test calls it.
    pub name: String,
    /// Its pid, asleep or awake.
    pub pid: i32,
    /// While it is a child of ours that has not been waited for.
    pub child: Option<Child>,
    /// What it says.
    pub out: PathBuf,
}

impl Program {
    /// What it has said.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.out).unwrap_or_default()
    }

    fn lines(&self) -> usize {
        self.said().lines().count()
    }

    /// Waits until it says more.
    pub fn goes_on(&self) {
        let before = self.lines();
        let more = until(PATIENCE, || (self.lines() > before + 2).then_some(()));
        assert!(more.is_some(), "{} says no more:\n{}", self.name, self.said());
    }

    /// Waits until it says this.
    pub fn waits_for(&self, text: &str) {
        let said = until(PATIENCE, || self.said().contains(text).then_some(()));
        assert!(said.is_some(), "{} does not say {text:?}:\n{}", self.name, self.said());
    }

    /// Each number follows the one before: nothing was done twice, and nothing left out.
    pub fn counts(&self) {
        let numbers: Vec<u64> = self.said().lines().flat_map(str::parse).collect();
        let follows = numbers.windows(2).all(|pair| pair[1] == pair[0] + 1);
        assert!(follows && !numbers.is_empty(), "{} does not count on:\n{}", self.name, self.said());
    }

    /// It goes on, and counts.
    pub fn counts_on(&self) {
        self.goes_on();
        self.counts();
    }

    /// The child of which [`PARENT`] tells.
    pub fn child_pid(&self) -> i32 {
        self.waits_for("child ");
        let said = self.said();
        let child = said.lines().find_map(|line| line.strip_prefix("child ")).map(str::parse);
        child.and_then(Result::ok).unwrap_or_else(|| panic!("{said}"))
    }

    /// Whether it is there, and no zombie.
    pub fn runs(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| !rest.trim().is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
    }

    /// Waits until it has ended, and nothing is left of it.
    pub fn is_gone(&mut self) {
        let gone = until(PATIENCE, || {
            // Whoever was below it is ours to wait for, too: its pids are to be free.
            while matches!(
                waitpid(None, Some(WaitPidFlag::WNOHANG)),
                Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))
            ) {}
            (!Path::new(&format!("/proc/{}", self.pid)).exists()).then_some(())
        });
        assert!(gone.is_some(), "{} is still there", self.name);
        self.child = None;
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Each leads a process group.
        let _ = kill(Pid::from_raw(-self.pid), Signal::SIGKILL);
        let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
        let _ = waitpid(Pid::from_raw(self.pid), None);
    }
}
