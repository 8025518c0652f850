//! `dormouse list` as a person and a program meet it: real processes, real control groups, a desktop entry on the disk.
#![allow(missing_docs, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use dormouse_wire::{GroupKind, Listed};
use harness::terminal::Terminal;
use harness::wait::{PATIENCE, until};
use harness::{User, alone, command};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn done<T>(result: std::io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// A process in a session of its own; all of the session ends when this is dropped.
struct Session(Child);

impl Session {
    /// Outside the unit that the test may run in: the processes of a unit are one group.
    fn start(mut command: Command) -> Self {
        let command = in_own_session(&mut command, Self::no_unit()).stdin(Stdio::null()).stdout(Stdio::null());
        let started = command.stderr(Stdio::null()).spawn();
        Self(started.unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
    }

    /// Who writes 0 there is in no unit.
    fn no_unit() -> fs::File {
        let path = unified().join("cgroup.procs");
        let procs = fs::File::options().write(true).open(&path);
        procs.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    /// Waits until it runs this program: right after the fork it is still the test.
    fn runs(self, comm: &str) -> Self {
        let is_there = || (read(&format!("/proc/{}/comm", self.pid())).trim() == comm).then_some(());
        until(PATIENCE, is_there).unwrap_or_else(|| panic!("{comm} does not start"));
        self
    }

    fn id(&self) -> String {
        format!("session-{}", self.pid())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It leads its process group, too.
        let _ = kill(Pid::from_raw(-self.pid()), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// `procs` takes the process into the control group that it is of, cgroups(7). It inherits nothing else: a pipe of the test
/// would join it to all others that have it.
fn in_own_session(command: &mut Command, procs: fs::File) -> &mut Command {
    let enter = move || {
        nix::unistd::setsid()?;
        nix::unistd::write(&procs, b"0")?;
        harness::specimen::inherit_nothing()
    };
    // SAFETY: between fork and exec it makes three system calls and touches no memory.
    unsafe { command.pre_exec(enter) }
}

fn read(path: &str) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The command in an environment that the machine's settings do not reach.
fn dormouse(arguments: &[&str]) -> Command {
    let mut command = Command::new(command::path());
    command.arg("list").args(arguments).env_remove("XDG_DATA_HOME").env("HOME", "/nonexistent");
    command.env("XDG_DATA_DIRS", "/nonexistent").env("LC_ALL", "C").stdin(Stdio::null());
    command
}

fn output(mut command: Command) -> Output {
    let output = done(command.output());
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} ends with {}:\n{said}\n{errors}", output.status);
    output
}

fn list_with(command: Command) -> Vec<Listed> {
    let output = output(command);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("this is no list: {error}"))
}

fn list() -> Vec<Listed> {
    list_with(dormouse(&["--json"]))
}

fn find(list: &[Listed], id: &str) -> Listed {
    let ids = || list.iter().map(|group| group.id.as_str()).collect::<Vec<_>>();
    list.iter().find(|group| group.id == id).unwrap_or_else(|| panic!("{id} is not among {:?}", ids())).clone()
}

fn comms(group: &Listed) -> BTreeSet<&str> {
    group.members.iter().map(|member| member.comm.as_str()).collect()
}

#[test]
fn a_pipeline_in_a_session_is_one_group_of_all_its_processes() {
    let mut bash = Command::new("bash");
    bash.args(["-c", "sleep 600 | cat | tail -f; true"]);
    let session = Session::start(bash).runs("bash");
    let group = until(PATIENCE, || Some(find(&list(), &session.id())).filter(|group| comms(group).len() == 4));
    let group = group.unwrap_or_else(|| panic!("it never has four programs: {:?}", find(&list(), &session.id())));
    assert_eq!((group.kind, group.name.as_str(), group.processes), (GroupKind::Session, "bash", 4));
    assert_eq!(comms(&group), BTreeSet::from(["bash", "sleep", "cat", "tail"]));
    assert_eq!((group.first_pid.0, group.members[0].pid.0), (session.pid(), session.pid()));
    assert!(group.memory.is_some_and(|memory| memory.0 > 100_000) && group.swap.is_some());
    assert_eq!((group.uid, group.user.as_deref(), group.paused, group.cpu), (Some(0), Some("root"), false, None));
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
    assert!(
        group.started.is_some_and(|started| (now - 120..=now + 2).contains(&started)),
        "{:?} of {now}",
        group.started
    );
}

#[test]
fn a_script_is_called_by_its_name_and_a_stopped_one_is_paused() {
    let folder = done(tempfile::tempdir());
    let script = folder.path().join("server.py");
    done(fs::write(&script, "import time\ntime.sleep(600)\n"));
    let mut python = Command::new("/usr/bin/python3");
    python.arg("-u").arg(&script);
    let session = Session::start(python).runs("python3");
    assert_eq!(find(&list(), &session.id()).name, "python3 server.py");
    assert!(!find(&list(), &session.id()).paused);
    let _ = kill(Pid::from_raw(session.pid()), Signal::SIGSTOP);
    until(PATIENCE, || find(&list(), &session.id()).paused.then_some(())).unwrap_or_else(|| panic!("it is not paused"));
}

/// A control group of cgroup v2 with a process in it, gone when dropped.
struct Scope {
    folder: PathBuf,
    session: Option<Session>,
}

impl Scope {
    /// A name that systemd would give; a number behind it tells apart tests that run at once.
    fn start(application: &str) -> (Self, String) {
        let mut sleep = Command::new("sleep");
        sleep.arg("600");
        let session = Session::start(sleep).runs("sleep");
        let name = format!("app-gnome-{application}-{}.scope", session.pid());
        let folder = unified().join(&name);
        fs::create_dir(&folder)
            .unwrap_or_else(|error| panic!("the control group {} cannot be made: {error}", folder.display()));
        let scope = Self { folder, session: Some(session) };
        scope.take(scope.pid());
        (scope, name)
    }

    fn pid(&self) -> i32 {
        self.session.as_ref().map_or(0, Session::pid)
    }

    fn take(&self, pid: i32) {
        self.write("cgroup.procs", &pid.to_string());
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.folder.join(file);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let _ = fs::write(self.folder.join("cgroup.freeze"), "0");
        self.session.take();
        // It can go when the last process has gone.
        until(Duration::from_secs(10), || fs::remove_dir(&self.folder).ok());
    }
}

/// Where cgroup v2 is mounted.
fn unified() -> PathBuf {
    let mounts = read("/proc/self/mountinfo");
    let is_unified = |line: &&str| line.contains(" - cgroup2 ");
    let place = mounts.lines().find(is_unified).and_then(|line| line.split(' ').nth(4));
    PathBuf::from(place.unwrap_or_else(|| panic!("no cgroup v2 is mounted, which this test needs")))
}

/// A data folder with one desktop entry.
fn data_folder(application: &str) -> tempfile::TempDir {
    let folder = done(tempfile::tempdir());
    let applications = folder.path().join("applications");
    let entry =
        "[Desktop Entry]\nType=Application\nName=The Thing\nName[de]=Das Ding\nExec=thing %U\nIcon=thing-icon\n";
    done(fs::create_dir(&applications));
    done(fs::write(applications.join(format!("{application}.desktop")), entry));
    folder
}

fn list_with_data(folder: &Path, locale: &str) -> Vec<Listed> {
    let mut command = dormouse(&["--json"]);
    command.env("XDG_DATA_DIRS", folder).env("LC_ALL", locale);
    list_with(command)
}

#[test]
fn an_app_has_the_name_and_icon_of_its_desktop_entry() {
    const APPLICATION: &str = "org.example.Thing";
    let data = data_folder(APPLICATION);
    let (scope, unit) = Scope::start(APPLICATION);
    let group = find(&list_with_data(data.path(), "de_DE.UTF-8"), &unit);
    assert_eq!((group.kind, group.name.as_str()), (GroupKind::App, "Das Ding"));
    assert_eq!((group.icon.as_deref(), group.application.as_deref()), (Some("thing-icon"), Some(APPLICATION)));
    assert_eq!((group.unit.as_deref(), group.first_pid.0, group.processes), (Some(unit.as_str()), scope.pid(), 1));
    assert_eq!(find(&list_with_data(data.path(), "C"), &unit).name, "The Thing");
    // Without its entry its ID is all that is known.
    let plain = find(&list(), &unit);
    assert_eq!((plain.name.as_str(), plain.icon), ("Thing", None));
}

#[test]
fn a_frozen_control_group_is_paused() {
    let (scope, unit) = Scope::start("org.example.Frozen");
    assert!(!find(&list(), &unit).paused);
    scope.write("cgroup.freeze", "1");
    until(PATIENCE, || find(&list(), &unit).paused.then_some(())).unwrap_or_else(|| panic!("it is not paused"));
}

#[test]
fn a_shell_on_a_terminal_is_no_part_of_the_terminal_emulator() {
    let _alone = alone::with_terminals();
    let folder = done(tempfile::tempdir());
    let (scope, unit) = Scope::start("org.example.Terminal");
    let mut terminal = Terminal::shell("bash", User::Root, folder.path(), &[]);
    scope.take(terminal.leader());
    terminal.type_in("sleep 600\n");
    let job = terminal.process("sleep");
    let shell = format!("session-{}", terminal.leader());
    let group = until(PATIENCE, || Some(find(&list(), &shell)).filter(|group| group.name == "bash: sleep"));
    let group = group.unwrap_or_else(|| panic!("the job is not in its name: {:?}", find(&list(), &shell)));
    let pids: Vec<i32> = group.members.iter().map(|member| member.pid.0).collect();
    assert_eq!(pids, [terminal.leader(), job]);
    let emulator = find(&list(), &unit);
    assert_eq!((emulator.processes, emulator.first_pid.0), (1, scope.pid()));
}

#[test]
fn who_cannot_be_cut_from_each_other_is_one_group() {
    let folder = done(tempfile::tempdir());
    let script = folder.path().join("pair.py");
    let source = "import os, time\nreader, writer = os.pipe()\nif os.fork() == 0:\n    os.setsid()\ntime.sleep(600)\n";
    done(fs::write(&script, source));
    let mut python = Command::new("/usr/bin/python3");
    python.arg(&script);
    let session = Session::start(python).runs("python3");
    let group = until(PATIENCE, || Some(find(&list(), &session.id())).filter(|group| !group.joined.is_empty()));
    let group = group.unwrap_or_else(|| panic!("nobody joins it: {:?}", find(&list(), &session.id())));
    let child = group.members[1].pid;
    assert_eq!((group.processes, group.members[0].pid.0), (2, session.pid()));
    assert_eq!((group.joined.len(), group.joined[0].id.as_str()), (1, format!("session-{child}").as_str()));
    assert!(group.joined[0].through.starts_with("pipe pipe:["), "{:?}", group.joined);
    assert!(group.private < group.memory && group.private.is_some_and(|size| size.0 > 100_000), "{:?}", group.private);
    // Its own name means the whole.
    let checked = done(Command::new(command::path()).args(["check", "--json", &group.joined[0].id]).output());
    let checked: dormouse_wire::Checked = serde_json::from_slice(&checked.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&checked.stderr)));
    let pids: Vec<i32> = checked.processes.iter().map(|process| process.pid.0).collect();
    assert_eq!(pids, [session.pid(), child.0]);
    let _ = kill(Pid::from_raw(child.0), Signal::SIGKILL);
}

/// Init of a namespace of processes: others that are tested at this time must not be made to stand still.
const JUDGED: &str = r#"
setsid sleep 600 >/dev/null 2>&1 &
free=$!
setsid unshare --mount sh -c 'mount -t ramfs ramfs /mnt && exec sleep 600' >/dev/null 2>&1 &
held=$!
for pid in $free $held; do
    until grep -qx sleep /proc/$pid/comm; do sleep 0.05; done
    "$1" check --json $pid > "$2/$pid.json"
done
"$1" list --check --json > "$2/list.json" && "$1" list --check > "$2/table"
echo $free $held
"#;

#[test]
fn the_list_says_what_a_check_says() {
    let folder = done(tempfile::tempdir());
    let mut unshare = Command::new("unshare");
    unshare.args(["--fork", "--pid", "--mount-proc", "--kill-child", "setsid", "sh", "-c", JUDGED, "sh"]);
    let command = unshare.arg(command::path()).arg(folder.path()).env("COLUMNS", "200");
    let output = done(in_own_session(command, Session::no_unit()).output());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let pids: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(pids.len(), 2, "{said} {}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| read(&folder.path().join(name).to_string_lossy());
    let list: Vec<Listed> = serde_json::from_str(&read("list.json")).unwrap_or_else(|error| panic!("{error}"));
    for (pid, words) in [(pids[0], " yes"), (pids[1], " no")] {
        let checked: dormouse_wire::Checked =
            serde_json::from_str(&read(&format!("{pid}.json"))).unwrap_or_else(|error| panic!("{error}"));
        let id = format!("session-{pid}");
        assert_eq!(find(&list, &id).verdict, Some(checked.verdict));
        let table = read("table");
        let row = table.lines().find(|line| line.starts_with(&format!("{id} ")));
        assert!(row.is_some_and(|row| row.trim_end().ends_with(words)), "{words} is not said in\n{table}");
    }
    assert!(list.iter().all(|group| group.verdict.is_some()), "{list:?}");
}

#[test]
fn every_process_is_in_one_group_but_init_and_threads_of_the_kernel() {
    let list = list();
    let members: Vec<i32> = list.iter().flat_map(|group| &group.members).map(|member| member.pid.0).collect();
    let once: BTreeSet<i32> = members.iter().copied().collect();
    assert_eq!(once.len(), members.len(), "a process is in two groups");
    assert!(once.contains(&(std::process::id() as i32)) && !once.contains(&1));
    let kernel = |pid: &i32| harness::process::Stat::of(*pid).is_some_and(|stat| stat.ppid() == 2);
    assert_eq!(once.into_iter().find(kernel), None);
    let sizes: Vec<_> = list.iter().map(|group| group.memory).collect();
    assert!(sizes.is_sorted_by(|one, next| one >= next), "the largest does not come first: {sizes:?}");
}

#[test]
fn processes_that_vanish_are_no_failure() {
    let mut storm = Command::new("bash");
    storm.args(["-c", "while :; do for number in 1 2 3 4 5 6 7 8; do (:) & done; wait; done"]);
    let _storm = Session::start(storm).runs("bash");
    let end = Instant::now() + Duration::from_secs(5);
    let mut lists = 0;
    while lists < 20 || Instant::now() < end {
        assert!(!list().is_empty());
        lists += 1;
    }
}

#[test]
fn a_person_reads_a_table() {
    let mut sleep = Command::new("sleep");
    sleep.arg("600");
    let session = Session::start(sleep).runs("sleep");
    let output = output(dormouse(&[]));
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.starts_with("GROUP ") && shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    let row = shown.lines().find(|line| line.starts_with(&format!("{} ", session.id())));
    let row: Vec<&str> = row.unwrap_or_else(|| panic!("it is not in\n{shown}")).split_whitespace().collect();
    assert_eq!((row[1], row[2], row[5]), ("sleep", "1", "running"), "{row:?}");
}

#[test]
fn a_picture_shows_the_groups_and_what_ties_them() {
    let mut bash = Command::new("bash");
    bash.args(["-c", "sleep 600 | cat; true"]);
    let session = Session::start(bash).runs("bash");
    let picture = |form: &str| {
        let output = output(dormouse(&["--graph", form]));
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let (dot, svg) = (picture("dot"), picture("svg"));
    assert!(dot.starts_with("digraph") && dot.contains(&session.pid().to_string()), "{dot}");
    assert!(svg.contains("<svg") && svg.contains(&session.pid().to_string()) && svg.contains("cannot be cut"), "{svg}");
}

#[test]
fn an_ordinary_user_sees_own_groups_and_all_on_demand() {
    let folder = done(tempfile::tempdir());
    let copy = folder.path().join("dormouse");
    done(fs::copy(command::path(), &copy));
    for path in [folder.path(), &copy] {
        done(fs::set_permissions(path, PermissionsExt::from_mode(0o755)));
    }
    let ordinary = |arguments: &[&str]| {
        let mut command = Command::new(&copy);
        command.arg("list").args(arguments).env("HOME", "/nonexistent").uid(1000).gid(1000).stdin(Stdio::null());
        command
    };
    let mut sleep = Command::new("sleep");
    sleep.arg("600").uid(1000).gid(1000);
    let (own, of_root) = (Session::start(sleep).runs("sleep"), {
        let mut sleep = Command::new("sleep");
        sleep.arg("600");
        Session::start(sleep).runs("sleep")
    });
    let seen = list_with(ordinary(&["--json"]));
    assert_eq!(find(&seen, &own.id()).uid, Some(1000));
    assert!(seen.iter().all(|group| group.id != of_root.id()), "the group of another is listed");
    let all = output(ordinary(&["--json", "--all"]));
    let seen: Vec<Listed> = serde_json::from_slice(&all.stdout).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((find(&seen, &of_root.id()).uid, find(&seen, &own.id()).uid), (Some(0), Some(1000)));
    let said = String::from_utf8_lossy(&all.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("root would see"), "what is missing is not said: {said}");
}

#[test]
fn a_program_that_watches_gets_one_array_in_a_line() {
    let mut watching = done(dormouse(&["--json", "--watch"]).stdout(Stdio::piped()).spawn());
    let out = watching.stdout.take().unwrap_or_else(|| panic!("it has no output"));
    let lines: Vec<String> = BufReader::new(out).lines().take(2).map(done).collect();
    let lists: Vec<Vec<Listed>> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    assert!(lists[0].iter().all(|group| group.cpu.is_none()));
    assert!(lists[1].iter().any(|group| group.cpu.is_some()), "no share of the processor is told");
    // The reader has gone away by now: it ends by itself.
    let status = until(PATIENCE, || done(watching.try_wait()));
    let Some(status) = status else {
        let _ = watching.kill();
        panic!("it goes on though nobody reads it");
    };
    assert!(status.success(), "{status}");
}

#[test]
fn a_person_watches_until_ctrl_c() {
    let _alone = alone::with_terminals();
    let mut terminal = Terminal::start(dormouse(&["--watch"]), User::Root);
    let shown = terminal.wait_for("STARTED");
    assert!(shown.contains("GROUP") && shown.contains("CPU"), "{shown}");
    terminal.wait_for("STARTED");
    terminal.type_in("\x03");
    let leader = terminal.leader();
    let ended = until(PATIENCE, || {
        sleep(Duration::from_millis(20));
        harness::process::Stat::of(leader).is_none_or(|stat| stat.is_dead()).then_some(())
    });
    assert!(ended.is_some(), "Ctrl-C does not end it");
}

#[test]
fn a_group_is_meant_by_its_id_with_all_its_processes() {
    // The leader's grandchild has lost its parent, and is found by the session alone.
    let mut command = Command::new("bash");
    command.args(["-c", "(sleep 1001 &) ; exec sleep 1002"]).stderr(Stdio::null());
    let session = Session::start(command).runs("sleep");
    let orphan = until(PATIENCE, || {
        let group = list().into_iter().find(|group| group.id == session.id())?;
        group.members.iter().map(|member| member.pid.0).find(|pid| *pid != session.pid())
    });
    let orphan = orphan.unwrap_or_else(|| panic!("the second sleep is not in {}", session.id()));
    let run = |arguments: &[&str]| done(Command::new(command::path()).args(arguments).output());

    let checked = run(&["check", &session.id(), "--json", "--tree-only"]);
    let checked: dormouse_wire::Checked =
        serde_json::from_slice(&checked.stdout).unwrap_or_else(|error| panic!("{error}: {checked:?}"));
    let pids: BTreeSet<i32> = checked.processes.iter().map(|process| process.pid.0).collect();
    assert_eq!(pids, BTreeSet::from([session.pid(), orphan]));

    let state = |pid: i32| read(&format!("/proc/{pid}/stat")).split(' ').nth(2).map(str::to_owned);
    let paused = run(&["pause", &session.id()]);
    assert!(paused.status.success(), "{}", String::from_utf8_lossy(&paused.stderr));
    // A message is broken where the line ends.
    let said = String::from_utf8_lossy(&paused.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains(&format!("dormouse resume {}", session.id())), "{said}");
    assert_eq!([session.pid(), orphan].map(state), [Some("T".to_owned()), Some("T".to_owned())]);
    let resumed = run(&["resume", &session.id()]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    // Each runs for a moment before it sleeps again.
    let both_sleep = || ([session.pid(), orphan].map(state) == ["S", "S"].map(|s| Some(s.to_owned()))).then_some(());
    until(PATIENCE, both_sleep).unwrap_or_else(|| panic!("they are {:?}", [session.pid(), orphan].map(state)));

    // To check, 1 would mean that it can be frozen.
    for (word, code) in [("freeze", 1), ("check", 2)] {
        let unknown = run(&[word, "session-of-nobody"]);
        assert_eq!(unknown.status.code(), Some(code), "{word}");
        assert!(String::from_utf8_lossy(&unknown.stderr).contains("no group is called so"));
    }
}
