//! `dormouse reboot`, and the choice to sleep at logout, with programs in the place of kexec(8) and reboot(8) that only write down what they
//! are called with. Each test has a user of its own, whose groups are all that it touches. `kernels/` does it in earnest.
#![allow(missing_docs, clippy::panic)]

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use harness::command;
use harness::specimen::without_inheritance;
use harness::wait::{PATIENCE, until};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tempfile::TempDir;

fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// A user whom nobody else on the machine is, and a machine that does not really restart.
struct Stage {
    user: u32,
    folder: TempDir,
}

const COUNTER: &str = "import time\ni = 0\nwhile True:\n    print(i)\n    i += 1\n    time.sleep(0.05)\n";

/// Connected to somebody who is not the user's.
const TIED: &str = "import socket, time\nclient = socket.socket(socket.AF_UNIX)\n\
                    client.connect('outside')\nwhile True:\n    print('tied')\n    time.sleep(0.05)\n";

impl Stage {
    /// `fails`: what a call of the system's programs begins with that fails.
    fn new(user: u32, fails: &str) -> Self {
        done(nix::sys::prctl::set_child_subreaper(true));
        let folder = done(tempfile::Builder::new().prefix("dormouse-reboot-").tempdir());
        done(fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)));
        let stage = Self { user, folder };
        done(fs::create_dir(stage.home()));
        done(chown(stage.home(), Some(user), Some(user)));
        let none: Option<&str> = None;
        done(unshare(CloneFlags::CLONE_NEWNS));
        done(mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none));
        let account = format!("dora:x:{user}:{user}::{}:/bin/sh\n", stage.home().display());
        done(fs::write(stage.path("passwd"), done(fs::read_to_string("/etc/passwd")) + &account));
        done(mount(Some(&stage.path("passwd")), "/etc/passwd", none, MsFlags::MS_BIND, none));
        done(fs::create_dir(stage.path("programs")));
        for program in ["kexec", "reboot", "systemctl"] {
            let script = format!(
                "#!/bin/sh\nset -- {program} \"$@\"\nimages=$(/bin/ls {}/.local/share/dormouse 2>/dev/null | /bin/grep -c 'dormouse$')\n\
                 echo \"$images asleep: $*\" >> {}\ncase \"$*\" in \"{fails}\"*) echo 'not today' >&2; exit 3;; esac\n",
                stage.home().display(),
                stage.path("called").display()
            );
            let path = stage.path("programs").join(program);
            done(fs::write(&path, script));
            done(fs::set_permissions(&path, fs::Permissions::from_mode(0o755)));
        }
        for name in ["vmlinuz-9.9", "initrd.img-9.9"] {
            done(fs::write(stage.path(name), ""));
        }
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn home(&self) -> PathBuf {
        self.path("home")
    }

    fn kernel(&self) -> String {
        self.path("vmlinuz-9.9").display().to_string()
    }

    fn images(&self) -> usize {
        let entries = fs::read_dir(self.home().join(".local/share/dormouse")).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".dormouse")).count()
    }

    /// How the programs of the system were called, and how many images there were by then.
    fn called(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("called")).unwrap_or_default();
        text.lines().map(|line| line.replace(&self.folder.path().display().to_string(), "")).collect()
    }

    fn python(&self, name: &str, script: &str) -> Program {
        let (file, out) = (self.home().join(format!("{name}.py")), self.home().join(format!("{name}.out")));
        done(fs::write(&file, script));
        let mut command = Command::new("python3");
        command.arg("-u").arg(&file).current_dir(self.home()).env("HOME", self.home()).uid(self.user).gid(self.user);
        command.stdin(Stdio::null()).stdout(done(File::create(&out))).stderr(Stdio::null());
        done(chown(&out, Some(self.user), Some(self.user)));
        // SAFETY: setsid(2) is safe between fork and exec.
        unsafe { command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(Into::into)) };
        let child = done(without_inheritance(&mut command).spawn());
        let program = Program { pid: child.id() as i32, child: Some(child), out };
        program.goes_on();
        program
    }

    /// Runs the command for the user; nothing but the programs of the stage is found by it.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(command::path());
        let user = self.user.to_string();
        command.args(arguments).args(["--user", &user]).env("PATH", self.path("programs")).stdin(Stdio::null());
        let output = done(without_inheritance(&mut command).output());
        eprintln!("{arguments:?}: {}\n{}", output.status, said(&output));
        output
    }

    fn reboot(&self, arguments: &[&str]) -> Output {
        self.run(&[&["reboot"], arguments].concat())
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The way the machine is restarted here.
fn restarts(with_kernel: bool) -> &'static str {
    match (with_kernel, std::path::Path::new("/run/systemd/system").is_dir()) {
        (true, true) => "systemctl kexec",
        (true, false) => "kexec -e",
        (false, true) => "systemctl reboot",
        (false, false) => "reboot",
    }
}

/// A program of the user's.
struct Program {
    pid: i32,
    child: Option<Child>,
    out: PathBuf,
}

impl Program {
    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.out).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Waits until it says more.
    fn goes_on(&self) {
        let before = self.lines().len();
        let more = until(PATIENCE, || (self.lines().len() > before + 2).then_some(()));
        assert!(more.is_some(), "it says no more: {:?}", self.lines());
    }

    /// It goes on, and each number follows the one before.
    fn counts_on(&self) {
        self.goes_on();
        let numbers: Vec<u64> = self.lines().iter().flat_map(|line| line.parse()).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "it does not count on: {numbers:?}");
    }

    /// It has ended, and nothing is left of it.
    fn is_gone(&mut self) {
        let gone = until(PATIENCE, || {
            // What was thawed is ours to wait for, too.
            match &mut self.child {
                Some(child) => drop(child.try_wait()),
                None => drop(waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG))),
            }
            (!PathBuf::from(format!("/proc/{}", self.pid)).exists()).then_some(())
        });
        assert!(gone.is_some(), "{} is still there", self.pid);
        self.child = None;
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
        let _ = waitpid(Pid::from_raw(self.pid), None);
    }
}

#[test]
fn the_kernel_is_loaded_first_and_started_when_all_sleep() {
    let stage = Stage::new(61_201, "nothing");
    let mut programs = [stage.python("one", COUNTER), stage.python("two", COUNTER)];
    let planned = stage.reboot(&["--kernel", &stage.kernel(), "--dry-run"]);
    assert_eq!((planned.status.code(), stage.images(), stage.called()), (Some(0), 0, Vec::new()));
    assert!(said(&planned).contains("initrd.img-9.9"), "{}", said(&planned));

    let output = stage.reboot(&["--kernel", &stage.kernel()]);
    assert_eq!(output.status.code(), Some(0));
    programs.iter_mut().for_each(Program::is_gone);
    let load = "0 asleep: kexec -a -l /vmlinuz-9.9 --initrd=/initrd.img-9.9 --reuse-cmdline".to_owned();
    assert_eq!(stage.called(), [load, format!("2 asleep: {}", restarts(true))]);
    assert!(said(&output).contains("session thaw"), "{}", said(&output));

    // What the unit says at the login: the user has not chosen anything, but it was put to sleep for the restart.
    assert_eq!(stage.run(&["session", "thaw", "--if-chosen"]).status.code(), Some(0));
    programs.iter().for_each(Program::counts_on);
    assert_eq!(stage.images(), 0);
    // That was once.
    assert_eq!(stage.run(&["session", "freeze"]).status.code(), Some(0));
    programs.iter_mut().for_each(Program::is_gone);
    assert_eq!(stage.run(&["session", "thaw", "--if-chosen"]).status.code(), Some(0));
    assert_eq!(stage.images(), 2);
    assert_eq!(stage.run(&["session", "thaw"]).status.code(), Some(0));
    programs.iter().for_each(Program::counts_on);
}

#[test]
fn what_cannot_sleep_stops_it_before_anything_is_touched() {
    let stage = Stage::new(61_202, "nothing");
    let outside = done(std::os::unix::net::UnixListener::bind(stage.home().join("outside")));
    done(chown(stage.home().join("outside"), Some(stage.user), None));
    let mut counter = stage.python("counter", COUNTER);
    let tied = stage.python("tied", TIED);
    let _other_end = done(outside.accept());

    let output = stage.reboot(&["--kernel", &stage.kernel()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("outside") && said(&output).contains("--force"), "{}", said(&output));
    assert_eq!((stage.called(), stage.images()), (Vec::new(), 0));
    assert_eq!(stage.reboot(&["--dry-run"]).status.code(), Some(2));
    counter.goes_on();
    tied.goes_on();

    let output = stage.reboot(&["--force"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stage.called(), [format!("1 asleep: {}", restarts(false))]);
    counter.is_gone();
    tied.goes_on();
    assert_eq!(stage.run(&["session", "thaw"]).status.code(), Some(0));
    counter.counts_on();
}

#[test]
fn a_kernel_that_cannot_be_loaded_changes_nothing() {
    let stage = Stage::new(61_203, "kexec -a");
    let counter = stage.python("counter", COUNTER);
    let output = stage.reboot(&["--kernel", &stage.kernel(), "--append", "quiet"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("not today") && said(&output).contains("nothing has changed"), "{}", said(&output));
    let called = stage.called();
    assert!(called.len() == 1 && called[0].ends_with("--command-line=quiet"), "{called:?}");
    assert_eq!(stage.images(), 0);
    counter.counts_on();
    let absent = stage.reboot(&["--kernel", "9.9.9-none"]);
    assert!(said(&absent).contains("no kernel"), "{}", said(&absent));
}

#[test]
fn a_machine_that_does_not_restart_leaves_the_session_asleep_and_says_so() {
    let stage = Stage::new(61_204, restarts(true));
    let mut counter = stage.python("counter", COUNTER);
    let output = stage.reboot(&["--kernel", &stage.kernel()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("not today") && said(&output).contains("dormouse session thaw"),
        "{}",
        said(&output)
    );
    counter.is_gone();
    assert_eq!(stage.images(), 1);
    assert_eq!(stage.run(&["session", "thaw"]).status.code(), Some(0));
    counter.counts_on();
}

#[test]
fn the_session_of_who_has_chosen_so_sleeps_from_logout_to_login() {
    let stage = Stage::new(61_205, "nothing");
    let mut counter = stage.python("counter", COUNTER);
    let at_logout = ["session", "freeze", "--if-chosen"];
    let at_login = ["session", "thaw", "--if-chosen"];
    assert_eq!(stage.run(&at_logout).status.code(), Some(0));
    assert_eq!(stage.images(), 0);
    counter.goes_on();

    assert_eq!(stage.run(&["session", "enable"]).status.code(), Some(0));
    assert_eq!(stage.run(&at_logout).status.code(), Some(0));
    counter.is_gone();
    assert_eq!(stage.images(), 1);
    assert_eq!(stage.run(&at_login).status.code(), Some(0));
    counter.counts_on();

    assert_eq!(stage.run(&at_logout).status.code(), Some(0));
    counter.is_gone();
    // What sleeps sleeps on for somebody who has changed his mind.
    assert_eq!(stage.run(&["session", "disable"]).status.code(), Some(0));
    assert_eq!(stage.run(&at_login).status.code(), Some(0));
    assert_eq!(stage.images(), 1);
    assert_eq!(stage.run(&["session", "thaw"]).status.code(), Some(0));
    counter.counts_on();
}
