//! Pids that others have: the group comes back in a pid namespace of its own, goes on there with the numbers it knew, is frozen from
//! within it, and leaves nothing when somebody kills what wakes it.
#![allow(missing_docs, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::command::{self, Outcome};
use harness::pids::{Squatter, numbers, outside};
use harness::specimen::without_inheritance;
use harness::wait::{PATIENCE, until};
use harness::{Job, User};

/// A family with threads, a pipe, locks, timers and a child that is known by its number, which looks around all the time.
const FAMILY: &str = r#"
import fcntl, os, signal, sys, threading, time

ticks = 0
def tick(*_):
    global ticks
    ticks += 1
signal.signal(signal.SIGALRM, tick)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
spun = 0
def spin():
    global spun
    while True:
        spun += 1
        time.sleep(0.01)
threading.Thread(target=spin, daemon=True).start()
lock = open("lock", "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
read, write = os.pipe()
own, child = os.getpid(), os.fork()
if child == 0:
    signal.setitimer(signal.ITIMER_REAL, 0)
    while True:
        assert os.getppid() == own, os.getppid()
        os.write(write, b"x")
        time.sleep(0.01)
tid, session = threading.get_native_id(), os.getsid(0)
print("ready", flush=True)
rounds = 0
while not os.path.exists("go"):
    assert os.read(read, 1) == b"x"
    assert (os.getpid(), threading.get_native_id(), os.getsid(0)) == (own, tid, session)
    rounds += 1
    open("seen", "w").write(str(len([name for name in os.listdir("/proc") if name.isdigit()])))
assert os.readlink("/proc/self") == str(own)
with open("/proc/%d/stat" % child) as stat:
    assert int(stat.read().rsplit(")")[1].split()[1]) == own
before = ticks, spun
time.sleep(0.2)
assert ticks > before[0] and spun > before[1], (before, ticks, spun)
signal.setitimer(signal.ITIMER_REAL, 0)
orphan = os.fork()
if orphan == 0:
    parent = os.getpid()
    grandchild = os.fork()
    if grandchild == 0:
        while os.getppid() == parent:
            time.sleep(0.01)
        open("adopted", "w").close()
    os._exit(0)
os.waitpid(orphan, 0)
while not os.path.exists("adopted"):
    time.sleep(0.01)
os.kill(child, signal.SIGTERM)
assert os.waitpid(child, 0) == (child, signal.SIGTERM)
print("right after", rounds > 0, flush=True)
"#;

fn run(job: &mut Job, arguments: &[&str]) -> Outcome {
    let image = job.specimen().image();
    command::run(arguments, image.parent().unwrap_or(&image), || harness::group::reap(&BTreeSet::new()))
}

fn family(user: User) {
    let mut job = Job::script(&["python3"], user, ("family.py", FAMILY), &[]);
    job.wait_for("ready");
    let (pid, folder) = (job.specimen().pid(), job.specimen().folder());
    let image = job.specimen().image().to_string_lossy().into_owned();
    job.fall_asleep();
    let squatter = Squatter::at(pid);

    let refused = run(&mut job, &["thaw", "--pid-namespace", "never", &image]);
    assert!(!refused.status.success() && refused.said.contains("to another"), "{}", refused.said);
    for round in 0..5 {
        let thawed = run(&mut job, &["thaw", &image]);
        thawed.expect_success("thaw");
        let said = thawed.said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("a pid namespace of its own"), "{said}");
        let here = outside(pid, &folder).unwrap_or_else(|| panic!("round {round}: nobody is {pid} inside"));
        // It is at work, and sees nobody but its own and the init.
        let _ = fs::remove_file(folder.join("seen"));
        let seen = until(PATIENCE, || fs::read_to_string(folder.join("seen")).ok().filter(|seen| !seen.is_empty()));
        assert_eq!(seen.as_deref(), Some("3"), "it sees others");
        fs::remove_file(&image).unwrap_or_else(|error| panic!("{error}"));
        if round == 4 {
            break;
        }
        let checked = run(&mut job, &["check", &here.to_string()]);
        assert_eq!(checked.status.code(), Some(0), "{}", checked.said);
        run(&mut job, &["freeze", &here.to_string(), "-o", &image]).expect_success("freeze");
        let gone = until(PATIENCE, || outside(pid, &folder).is_none().then_some(()));
        assert!(gone.is_some(), "round {round}: it runs on beside its image");
    }
    drop(squatter);
    let here = outside(pid, &folder).unwrap_or_else(|| panic!("it is gone"));
    job.make("go");
    let ended = until(PATIENCE, || numbers(here).is_empty().then_some(()));
    let said = job.said();
    assert!(ended.is_some() && said.ends_with("right after True\n"), "{said}{}", job.specimen().errors());
}

#[test]
fn a_family_of_root_goes_on_with_its_numbers_though_others_have_them() {
    family(User::Root);
}

#[test]
fn a_family_of_a_user_goes_on_with_its_numbers_though_others_have_them() {
    family(User::Ordinary);
}

/// Where the numbers have become free again, it comes back to where it was.
#[test]
fn who_was_in_a_namespace_comes_home_when_its_numbers_are_free() {
    let mut job = Job::script(&["python3"], User::Ordinary, ("family.py", FAMILY), &[]);
    job.wait_for("ready");
    let (pid, folder) = (job.specimen().pid(), job.specimen().folder());
    let image = job.specimen().image().to_string_lossy().into_owned();
    let frozen = job.fall_asleep();
    run(&mut job, &["thaw", "--pid-namespace", "always", &image]).expect_success("thaw");
    fs::remove_file(&image).unwrap_or_else(|error| panic!("{error}"));
    let here = outside(pid, &folder).unwrap_or_else(|| panic!("nobody is {pid} inside"));
    run(&mut job, &["freeze", &here.to_string(), "-o", &image]).expect_success("freeze");
    job.wake_up(&frozen);
    assert_eq!(numbers(pid), [pid]);
    job.make("go");
    assert!(job.end().ends_with("right after True\n"));
}

/// Killed at any moment, `thaw` leaves all of the group or nothing, and no init without a group.
#[test]
fn a_killed_thaw_leaves_nobody_in_its_namespace() {
    let mut job = Job::script(&["python3"], User::Root, ("family.py", FAMILY), &[]);
    job.wait_for("ready");
    let (pid, folder) = (job.specimen().pid(), job.specimen().folder());
    let image = job.specimen().image().to_string_lossy().into_owned();
    job.fall_asleep();
    let mut whole = 0;
    // On a busy machine it takes its time.
    for moment in (0..30).map(|step| step * 5).chain((1..20).map(|step| step * 200)).map(Duration::from_millis) {
        let mut command = Command::new(command::path());
        command.args(["thaw", "--pid-namespace", "always", &image]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut thaw = without_inheritance(&mut command).spawn().unwrap_or_else(|error| panic!("{error}"));
        std::thread::sleep(moment);
        thaw.kill().and_then(|()| thaw.wait()).unwrap_or_else(|error| panic!("{error}"));
        // Whoever is there a little later stays, and is whole.
        std::thread::sleep(Duration::from_millis(300));
        if let Some(here) = outside(pid, &folder) {
            let _ = fs::remove_file(folder.join("seen"));
            let works = until(PATIENCE, || folder.join("seen").exists().then_some(()));
            assert!(works.is_some(), "half of it is left after {moment:?}");
            whole += 1;
            // SAFETY: a signal for a process that this test has started.
            unsafe { libc::kill(here, libc::SIGKILL) };
            let gone = until(PATIENCE, || outside(pid, &folder).is_none().then_some(()));
            assert!(gone.is_some(), "it does not end");
            break;
        }
    }
    assert!(whole > 0, "it never came to an end");
}
