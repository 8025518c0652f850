//! `dormouse reboot`, and the choice to sleep at logout, with programs in the place of kexec(8) and reboot(8) that only write down what they
//! are called with. Each test has a user of its own, whose groups are all that it touches. `kernels/` does it in earnest.
#![allow(missing_docs, clippy::panic)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use harness::session::{COUNTER, Program, Stage, TIED, ended, ended_beside, said};
use harness::wait::{PATIENCE, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// A user of the test's own, and a machine that does not really restart.
struct Machine {
    stage: Stage,
}

impl Machine {
    /// `fails`: what a call of the system's programs begins with that fails.
    fn new(user: u32, fails: &str) -> Self {
        let machine = Self { stage: Stage::new(user) };
        done(fs::create_dir(machine.path("programs")));
        for program in ["kexec", "reboot", "systemctl"] {
            let script = format!(
                "#!/bin/sh\nset -- {program} \"$@\"\nimages=$(/bin/ls {}/.local/share/dormouse 2>/dev/null | /bin/grep -c 'dormouse$')\n\
                 echo \"$images asleep: $*\" >> {}\n[ -e {hook} ] && . {hook}\n\
                 case \"$*\" in \"{fails}\"*) echo 'not today' >&2; exit 3;; esac\n",
                machine.stage.home().display(),
                machine.path("called").display(),
                hook = machine.path("hook").display(),
            );
            let path = machine.path("programs").join(program);
            done(fs::write(&path, script));
            done(fs::set_permissions(&path, fs::Permissions::from_mode(0o755)));
        }
        for name in ["vmlinuz-9.9", "initrd.img-9.9"] {
            done(fs::write(machine.path(name), ""));
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.stage.folder().join(name)
    }

    fn kernel(&self) -> String {
        self.path("vmlinuz-9.9").display().to_string()
    }

    fn images(&self) -> usize {
        self.stage.images().len()
    }

    /// How the programs of the system were called, and how many images there were by then.
    fn called(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("called")).unwrap_or_default();
        text.lines().map(|line| line.replace(&self.stage.folder().display().to_string(), "")).collect()
    }

    fn python(&self, name: &str, script: &str) -> Program {
        let program = self.stage.python(name, script);
        program.goes_on();
        program
    }

    /// The command for the user; nothing but the programs of the machine is found by it.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.stage.command(arguments);
        command.env("PATH", self.path("programs"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        ended(&mut self.command(arguments))
    }

    fn begin(&self, arguments: &[&str]) -> Child {
        done(self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn())
    }

    fn reboot(&self, arguments: &[&str]) -> Output {
        self.run(&[&["reboot"], arguments].concat())
    }
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

#[test]
fn the_kernel_is_loaded_first_and_started_when_all_sleep() {
    let machine = Machine::new(61_201, "nothing");
    let mut programs = [machine.python("one", COUNTER), machine.python("two", COUNTER)];
    let planned = machine.reboot(&["--kernel", &machine.kernel(), "--dry-run"]);
    assert_eq!((planned.status.code(), machine.images(), machine.called()), (Some(0), 0, Vec::new()));
    assert!(said(&planned).contains("initrd.img-9.9"), "{}", said(&planned));

    let output = machine.reboot(&["--kernel", &machine.kernel()]);
    assert_eq!(output.status.code(), Some(0));
    programs.iter_mut().for_each(Program::is_gone);
    let load = "0 asleep: kexec -a -l /vmlinuz-9.9 --initrd=/initrd.img-9.9 --reuse-cmdline".to_owned();
    assert_eq!(machine.called(), [load, format!("2 asleep: {}", restarts(true))]);
    assert!(said(&output).contains("session thaw"), "{}", said(&output));

    // What the unit says at the login: the user has not chosen anything, but it was put to sleep for the restart.
    assert_eq!(machine.run(&["session", "thaw", "--if-chosen"]).status.code(), Some(0));
    programs.iter().for_each(Program::counts_on);
    assert_eq!(machine.images(), 0);
    // That was once.
    assert_eq!(machine.run(&["session", "freeze"]).status.code(), Some(0));
    programs.iter_mut().for_each(Program::is_gone);
    assert_eq!(machine.run(&["session", "thaw", "--if-chosen"]).status.code(), Some(0));
    assert_eq!(machine.images(), 2);
    assert_eq!(machine.run(&["session", "thaw"]).status.code(), Some(0));
    programs.iter().for_each(Program::counts_on);
}

#[test]
fn whoever_ends_while_all_are_looked_at_stands_in_nobodys_way() {
    let machine = Machine::new(61_215, "nothing");
    let restless = "while :; do for n in 1 2 3 4 5 6 7 8 9; do setsid sleep 0.0$n & sleep 0.02; done; wait; done";
    let program = machine.stage.start("restless", "bash", &["-c", restless]);
    for _ in 0..15 {
        let planned = machine.reboot(&["--dry-run"]);
        assert_eq!(planned.status.code(), Some(0), "{}", said(&planned));
    }
    drop(program);
}

#[test]
fn what_cannot_sleep_stops_it_before_anything_is_touched() {
    let machine = Machine::new(61_202, "nothing");
    let outside = done(std::os::unix::net::UnixListener::bind(machine.stage.path("outside")));
    done(chown(machine.stage.path("outside"), Some(machine.stage.user()), None));
    let mut counter = machine.python("counter", COUNTER);
    let tied = machine.python("tied", TIED);
    let _other_end = done(outside.accept());

    let output = machine.reboot(&["--kernel", &machine.kernel()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("outside") && said(&output).contains("--force"), "{}", said(&output));
    assert_eq!((machine.called(), machine.images()), (Vec::new(), 0));
    assert_eq!(machine.reboot(&["--dry-run"]).status.code(), Some(2));
    counter.goes_on();
    tied.goes_on();

    let output = machine.reboot(&["--force"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(machine.called(), [format!("1 asleep: {}", restarts(false))]);
    counter.is_gone();
    tied.goes_on();
    assert_eq!(machine.run(&["session", "thaw"]).status.code(), Some(0));
    counter.counts_on();
}

#[test]
fn a_kernel_that_cannot_be_loaded_changes_nothing() {
    let machine = Machine::new(61_203, "kexec -a");
    let counter = machine.python("counter", COUNTER);
    let output = machine.reboot(&["--kernel", &machine.kernel(), "--append", "quiet"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("not today") && said(&output).contains("nothing has changed"), "{}", said(&output));
    let called = machine.called();
    assert!(called.len() == 1 && called[0].ends_with("--command-line=quiet"), "{called:?}");
    assert_eq!(machine.images(), 0);
    counter.counts_on();
    let absent = machine.reboot(&["--kernel", "9.9.9-none"]);
    assert!(said(&absent).contains("no kernel"), "{}", said(&absent));
}

#[test]
fn a_machine_that_does_not_restart_leaves_the_session_asleep_and_says_so() {
    let machine = Machine::new(61_204, restarts(true));
    let mut counter = machine.python("counter", COUNTER);
    let output = machine.reboot(&["--kernel", &machine.kernel()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("not today") && said(&output).contains("dormouse session thaw"),
        "{}",
        said(&output)
    );
    counter.is_gone();
    assert_eq!(machine.images(), 1);
    assert_eq!(machine.run(&["session", "thaw"]).status.code(), Some(0));
    counter.counts_on();
}

#[test]
fn the_session_of_who_has_chosen_so_sleeps_from_logout_to_login() {
    let machine = Machine::new(61_205, "nothing");
    let mut counter = machine.python("counter", COUNTER);
    let at_logout = ["session", "freeze", "--if-chosen"];
    let at_login = ["session", "thaw", "--if-chosen"];
    assert_eq!(machine.run(&at_logout).status.code(), Some(0));
    assert_eq!(machine.images(), 0);
    counter.goes_on();

    assert_eq!(machine.run(&["session", "enable"]).status.code(), Some(0));
    assert_eq!(machine.run(&at_logout).status.code(), Some(0));
    counter.is_gone();
    assert_eq!(machine.images(), 1);
    assert_eq!(machine.run(&at_login).status.code(), Some(0));
    counter.counts_on();

    assert_eq!(machine.run(&at_logout).status.code(), Some(0));
    counter.is_gone();
    // What sleeps sleeps on for somebody who has changed his mind.
    assert_eq!(machine.run(&["session", "disable"]).status.code(), Some(0));
    assert_eq!(machine.run(&at_login).status.code(), Some(0));
    assert_eq!(machine.images(), 1);
    assert_eq!(machine.run(&["session", "thaw"]).status.code(), Some(0));
    counter.counts_on();
}

/// Somebody of whom nobody could have foreseen it: he is free while all are looked at, and tied when his turn comes.
const TURNS: &str = "import os, socket, time\nwhile not os.path.exists('turn'):\n    print('free')\n    time.sleep(0.05)\n\
                     client = socket.socket(socket.AF_UNIX)\nclient.connect('outside')\nopen('turned', 'w')\n\
                     while True:\n    print('tied')\n    time.sleep(0.05)\n";

#[test]
fn a_session_that_falls_asleep_by_half_is_woken_again() {
    let machine = Machine::new(61_206, "nothing");
    let outside = done(std::os::unix::net::UnixListener::bind(machine.stage.path("outside")));
    done(chown(machine.stage.path("outside"), Some(machine.stage.user()), None));
    // The oldest comes last.
    let turns = machine.python("turns", TURNS);
    let counters = [machine.python("one", COUNTER), machine.python("two", COUNTER)];
    let home = machine.stage.home().display().to_string();
    let hook = format!(
        "case \"$*\" in \"kexec -a\"*) : > {home}/turn; while [ ! -e {home}/turned ]; do /bin/sleep 0.02; done;; esac\n"
    );
    done(fs::write(machine.path("hook"), hook));
    assert_eq!(machine.reboot(&["--dry-run"]).status.code(), Some(0));
    let child = machine.begin(&["reboot", "--kernel", &machine.kernel()]);
    let output = ended_beside(child, &counters.each_ref());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("would not sleep") && said(&output).contains("outside"), "{}", said(&output));
    assert!(said(&output).contains("Awake") && !said(&output).contains("loss"), "{}", said(&output));
    let _other_end = done(outside.accept());
    let called = machine.called();
    assert!(
        called.len() == 2 && called[0].starts_with("0 asleep: kexec -a") && called[1].ends_with(": kexec -u"),
        "{called:?}"
    );
    assert_eq!(called[1], "2 asleep: kexec -u", "it was by half");
    assert_eq!(machine.images(), 0);
    counters.iter().for_each(Program::counts_on);
    turns.goes_on();
}

#[test]
fn what_slept_before_sleeps_on_when_all_is_undone() {
    let machine = Machine::new(61_208, "nothing");
    let mut old = machine.python("old", COUNTER);
    assert_eq!(machine.run(&["session", "freeze"]).status.code(), Some(0));
    old.is_gone();
    let counters: Vec<Program> = (0..4).map(|nth| machine.python(&format!("counter{nth}"), COUNTER)).collect();
    let child = machine.begin(&["reboot", "--kernel", &machine.kernel()]);
    let some = until(PATIENCE, || (machine.images() > 1).then_some(()));
    assert!(some.is_some(), "nothing falls asleep");
    done(kill(Pid::from_raw(child.id() as i32), Signal::SIGINT));
    let output = ended_beside(child, &counters.iter().collect::<Vec<_>>());
    assert!(said(&output).contains("interrupted"), "{}", said(&output));
    counters.iter().for_each(Program::counts_on);
    assert!(machine.images() == 1 && !old.runs(), "{}", said(&output));
    assert_eq!(machine.run(&["session", "thaw"]).status.code(), Some(0));
    old.counts_on();
}

#[test]
fn ctrl_c_undoes_all_of_it() {
    let machine = Machine::new(61_207, "nothing");
    let counters: Vec<Program> = (0..6).map(|nth| machine.python(&format!("counter{nth}"), COUNTER)).collect();
    // While the kernel is loaded.
    done(fs::write(machine.path("hook"), "case \"$*\" in \"kexec -a\"*) kill -INT $PPID;; esac\n"));
    let output = machine.reboot(&["--kernel", &machine.kernel()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("interrupted"), "{}", said(&output));
    let called = machine.called();
    assert!(called.len() == 2 && called[1] == "0 asleep: kexec -u", "{called:?}");
    counters.iter().for_each(Program::counts_on);
    done(fs::remove_file(machine.path("hook")));

    // And at a moment when some sleep and some do not.
    for (round, signal) in [Signal::SIGINT, Signal::SIGTERM].into_iter().enumerate() {
        done(fs::remove_file(machine.path("called")));
        let child = machine.begin(&["reboot", "--kernel", &machine.kernel()]);
        let some = until(PATIENCE, || (machine.images() > round).then_some(()));
        assert!(some.is_some(), "nothing falls asleep");
        done(kill(Pid::from_raw(child.id() as i32), signal));
        let output = ended_beside(child, &counters.iter().collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(!said(&output).contains("loss"), "{}", said(&output));
        assert!(said(&output).contains("interrupted") && said(&output).contains("Awake"), "{}", said(&output));
        let called = machine.called();
        assert!(called.len() == 2 && called[1].ends_with(": kexec -u"), "{called:?}");
        assert_eq!(machine.images(), 0);
        counters.iter().for_each(Program::counts_on);
    }
    let later = machine.run(&["session", "status", "--json"]);
    assert_eq!(String::from_utf8_lossy(&later.stdout).trim(), "[]");
}
