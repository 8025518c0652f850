//! A started program with its folder: how it is started, watched, frozen, thawed, asked and ended.
//!
//! A program tells what it has to say by files in its folder: it makes `ready` when it has set itself up, waits for
//! `go`, checks itself and makes `result` with `ok` or with everything that is wrong.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::command::{self, Outcome};
use crate::group::{self, MARK};
use crate::process::Stat;
use crate::said::Said;
use crate::wait::{PATIENCE, until};
use crate::{Program, Snapshot, User};

/// uid and gid of [`User::Ordinary`].
pub const ORDINARY: u32 = 1000;

/// What a program answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All is as it was.
    Ok,
    /// This machine cannot hold the kind, and why.
    CannotBeHeldHere(String),
    /// These things are wrong, one a line.
    Wrong(String),
}

/// A started program. Dropping it ends every process of it.
#[derive(Debug)]
pub struct Specimen {
    program: Program,
    pid: i32,
    base: TempDir,
    /// Every process that was seen in the group.
    known: BTreeSet<i32>,
}

impl Specimen {
    /// Starts a program of the zoo in a session of its own, with `/dev/null` and two files as its stdio.
    pub fn start(zoo: &Path, program: &Program, user: User) -> Self {
        Self::launch(program, user, |folder| {
            let base = folder.parent().unwrap_or(folder);
            let mut command = Command::new(reachable(zoo, user, base));
            command.arg(program.name).arg(folder);
            command
        })
    }

    /// Starts any command in a session of its own, with `/dev/null` and two files as its stdio. `command` is told the
    /// program's folder, and may put files there: they become the user's.
    pub fn launch(program: &Program, user: User, command: impl FnOnce(&Path) -> Command) -> Self {
        become_subreaper();
        let base = tempfile::Builder::new().prefix("dormouse-").tempdir().unwrap_or_else(|error| panic!("{error}"));
        let folder = base.path().join("stage");
        let made =
            fs::create_dir(&folder).and_then(|()| fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)));
        made.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut command = command(&folder);
        command.current_dir(&folder).env_clear().env(MARK, &folder).env("PATH", "/usr/bin:/bin").env("HOME", &folder);
        command.stdin(Stdio::null()).stdout(stream(&folder, "out")).stderr(stream(&folder, "err"));
        if user == User::Ordinary {
            // The thaw opens its files with the program's own rights.
            hand_over(&folder).unwrap_or_else(|error| panic!("chown: {error}"));
        }
        // SAFETY: between fork and exec it makes a few system calls and touches no memory but its stack.
        unsafe { command.pre_exec(move || enter(user)) };
        // It is waited for by its pid: after a thaw there is no handle for it, and it is the same child all the same.
        #[allow(clippy::zombie_processes)]
        let child = command.spawn().unwrap_or_else(|error| panic!("{} does not start: {error}", program.name));
        let pid = child.id() as i32;
        Self { program: *program, pid, base, known: BTreeSet::from([pid]) }
    }

    /// The pid of the process that was started.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The folder the program writes to.
    pub fn folder(&self) -> PathBuf {
        self.base.path().join("stage")
    }

    /// The image file.
    pub fn image(&self) -> PathBuf {
        self.base.path().join("image.dormouse")
    }

    /// The processes of the group now.
    pub fn members(&mut self) -> BTreeSet<i32> {
        group::reap(&self.known);
        let members = group::members(self.pid, &self.folder().to_string_lossy());
        self.known.extend(&members);
        members
    }

    /// Waits until the program has set itself up; what it answered instead, if it could not.
    pub fn wait_ready(&mut self) -> Result<(), Answer> {
        let (ready, result) = (self.folder().join("ready"), self.folder().join("result"));
        let came = until(PATIENCE, || {
            if result.exists() {
                return Some(Err(self.answer().unwrap_or(Answer::Ok)));
            }
            if ready.exists() {
                // The file that says so is closed a moment after it appears.
                std::thread::sleep(Duration::from_millis(100));
                return Some(Ok(()));
            }
            let dead = Stat::of(self.pid).is_none_or(|stat| stat.is_dead());
            (dead && !ready.exists() && !result.exists())
                .then(|| Err(Answer::Wrong("it ended without a word".to_owned())))
        });
        let came = came
            .unwrap_or_else(|| panic!("{} was not ready within {PATIENCE:?}\n{}", self.program.name, self.errors()));
        if came.is_ok() && self.program.stopped {
            self.wait_stopped();
        }
        came
    }

    /// A survey of the whole group.
    pub fn survey(&mut self) -> Snapshot {
        let members = self.members();
        Snapshot::take(&members).unwrap_or_else(|error| panic!("the survey of {} failed: {error}", self.program.name))
    }

    /// Runs `dormouse freeze` on the group, and reaps what it ends. Before that `dormouse check` is asked, which must have
    /// said the same: the group holds still.
    pub fn freeze(&mut self) -> Outcome {
        let arguments = self.program.freeze_arguments;
        let checked = Said::by_check(&self.pid.to_string(), arguments, self.base.path());
        let outcome = self.freeze_at_once();
        checked.compare(&Said::by_freeze(&outcome), arguments.contains(&"--accept-losses"));
        outcome
    }

    /// The same without asking first: a group that changes all the time is another one when it is asked again.
    pub fn freeze_at_once(&mut self) -> Outcome {
        self.freeze_with(self.program.freeze_arguments)
    }

    /// The same with these arguments.
    pub fn freeze_with(&mut self, more: &[&str]) -> Outcome {
        let known = self.members();
        let (pid, image) = (self.pid.to_string(), self.image());
        let image = image.to_string_lossy();
        let mut arguments = vec!["freeze", &pid, "--json", "-o", &image];
        arguments.extend(more);
        command::run(&arguments, self.base.path(), || group::reap(&known))
    }

    /// Panics unless every process of `group` is gone and the image is there, for its owner alone.
    pub fn assert_asleep(&mut self, group: &BTreeSet<i32>) {
        let gone = |pid: &i32| Stat::of(*pid).is_none();
        until(Duration::from_secs(10), || {
            group::reap(group);
            group.iter().all(gone).then_some(())
        });
        let left: Vec<String> =
            group.iter().filter_map(|pid| Stat::of(*pid).map(|stat| describe(*pid, &stat))).collect();
        assert!(left.is_empty(), "still there after the freeze: {}", left.join(", "));
        let image =
            fs::metadata(self.image()).unwrap_or_else(|error| panic!("there is no image after the freeze: {error}"));
        assert_eq!(image.mode() & 0o7777, 0o600, "the image's mode is {:o}, and must be 600", image.mode() & 0o7777);
    }

    /// Ends those of these processes that are still there.
    pub fn end_processes(&mut self, group: &BTreeSet<i32>) {
        for pid in group {
            // SAFETY: sends a signal to a process that this test has started.
            unsafe { libc::kill(*pid, libc::SIGKILL) };
        }
    }

    /// Runs `dormouse thaw` on the image.
    pub fn thaw(&mut self) -> Outcome {
        self.thaw_with(&[])
    }

    /// The same with these options.
    pub fn thaw_with(&mut self, options: &[&str]) -> Outcome {
        let image = self.image();
        command::run(&[&["thaw", &*image.to_string_lossy()], options].concat(), self.base.path(), || {})
    }

    /// Panics unless the group consists of the same pids as before.
    pub fn assert_awake(&mut self, group: &BTreeSet<i32>) {
        let now = self.members();
        assert_eq!(&now, group, "the group after the thaw (left) is not the group before the freeze (right)");
    }

    /// Panics when the group does not run on.
    pub fn assert_untouched(&mut self, group: &BTreeSet<i32>) {
        self.assert_awake(group);
        assert!(!self.image().exists(), "there is an image although the freeze failed");
    }

    /// Lets the program check itself, and waits for its answer.
    pub fn go(&mut self) -> Answer {
        let go = self.folder().join("go");
        File::create(&go).unwrap_or_else(|error| panic!("{}: {error}", go.display()));
        if self.program.stopped {
            self.assert_stopped();
            for pid in self.members() {
                // SAFETY: sends a signal to a process that this test has started.
                unsafe { libc::kill(pid, libc::SIGCONT) };
            }
        }
        let answer = until(PATIENCE, || {
            let answer = self.answer();
            let dead = answer.is_none() && Stat::of(self.pid).is_none_or(|stat| stat.is_dead());
            answer.or_else(|| dead.then(|| self.answer().unwrap_or_else(|| self.silent_end())))
        });
        let answer = answer.unwrap_or_else(|| Answer::Wrong(format!("it gave no result within {PATIENCE:?}")));
        match answer {
            Answer::Wrong(wrong) => Answer::Wrong(format!("{wrong}\n{}", self.errors())),
            other => other,
        }
    }

    /// Panics unless the whole group ends by itself after its answer.
    pub fn assert_ends(&mut self) {
        let ended = until(PATIENCE, || self.members().is_empty().then_some(()));
        let left: Vec<String> =
            self.members().iter().filter_map(|pid| Some(describe(*pid, &Stat::of(*pid)?))).collect();
        assert!(ended.is_some(), "still there long after their answer: {}", left.join(", "));
    }

    /// What the program wrote to standard error.
    pub fn errors(&self) -> String {
        fs::read(self.folder().join("err")).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }

    fn answer(&self) -> Option<Answer> {
        let text = fs::read_to_string(self.folder().join("result")).ok()?;
        Some(match (text.as_str(), text.strip_prefix("cannot be held here: ")) {
            ("ok", _) => Answer::Ok,
            (_, Some(why)) => Answer::CannotBeHeldHere(why.to_owned()),
            _ => Answer::Wrong(text),
        })
    }

    fn silent_end(&self) -> Answer {
        let mut status = 0;
        // SAFETY: `status` lives through the call.
        let waited = unsafe { libc::waitpid(self.pid, &raw mut status, libc::WNOHANG) };
        let how = match waited == self.pid {
            true if libc::WIFSIGNALED(status) => format!(" by signal {}", libc::WTERMSIG(status)),
            true => format!(" with code {}", libc::WEXITSTATUS(status)),
            false => String::new(),
        };
        Answer::Wrong(format!("it ended{how} without a result"))
    }

    fn wait_stopped(&mut self) {
        until(PATIENCE, || self.members().iter().any(|pid| is_stopped(*pid)).then_some(()));
        self.assert_stopped();
    }

    fn assert_stopped(&mut self) {
        let stopped = self.members().iter().filter(|pid| is_stopped(**pid)).count();
        assert!(stopped > 0, "no process of {} is stopped", self.program.name);
    }
}

impl Drop for Specimen {
    fn drop(&mut self) {
        group::end(self.pid, &self.folder().to_string_lossy(), &self.known);
    }
}

fn is_stopped(pid: i32) -> bool {
    Stat::of(pid).is_some_and(|stat| stat.state() == 'T')
}

fn describe(pid: i32, stat: &Stat) -> String {
    format!("{} (pid {pid}, state {}, parent {})", stat.comm(), stat.state(), stat.ppid())
}

/// Orphans of the groups come to this process instead of to PID 1, which may reap slowly.
fn become_subreaper() {
    // SAFETY: takes numbers only.
    let result = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    assert_eq!(result, 0, "PR_SET_CHILD_SUBREAPER: {}", io::Error::last_os_error());
}

/// What the runner of the tests left open belongs to nobody in the group; runs between fork and exec.
pub fn inherit_nothing() -> io::Result<()> {
    // SAFETY: marks descriptors to be closed at exec; takes numbers only.
    let result = unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets a program have nothing of this process but the standard descriptors: a pipe of the runner of the tests would join it
/// to all others that have that.
pub fn without_inheritance(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec it makes one system call and touches no memory.
    unsafe { command.pre_exec(inherit_nothing) }
}

/// A session of its own, and the user; runs between fork and exec.
pub(crate) fn enter(user: User) -> io::Result<()> {
    let done = |result: i32| if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: takes nothing.
    done(unsafe { libc::setsid() })?;
    inherit_nothing()?;
    if user == User::Ordinary {
        // SAFETY: an empty list is given, and numbers.
        done(unsafe { libc::setgroups(0, std::ptr::null()) })?;
        // SAFETY: takes numbers only.
        done(unsafe { libc::setresgid(ORDINARY, ORDINARY, ORDINARY) })?;
        // SAFETY: takes numbers only.
        done(unsafe { libc::setresuid(ORDINARY, ORDINARY, ORDINARY) })?;
    }
    Ok(())
}

/// Gives the ordinary user a folder and what is in it.
fn hand_over(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.file_type()?.is_dir() {
            hand_over(&entry.path())?;
        } else {
            chown(entry.path(), Some(ORDINARY), Some(ORDINARY))?;
        }
    }
    chown(folder, Some(ORDINARY), Some(ORDINARY))
}

fn stream(folder: &Path, name: &str) -> Stdio {
    let file = OpenOptions::new().create(true).append(true).open(folder.join(name));
    Stdio::from(file.unwrap_or_else(|error| panic!("{}: {error}", folder.display())))
}

/// The program's file, or a copy of it where the user may not go to where it lies.
fn reachable(zoo: &Path, user: User, base: &Path) -> PathBuf {
    let open = |path: &Path| fs::metadata(path).is_ok_and(|data| data.mode() & 0o001 != 0);
    if user == User::Root || zoo.ancestors().all(open) {
        return zoo.to_owned();
    }
    let copy = base.join("zoo");
    fs::copy(zoo, &copy).unwrap_or_else(|error| panic!("{}: {error}", copy.display()));
    copy
}
