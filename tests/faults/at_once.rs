//! Others at work at the same moment: another Dormouse, a debugger, whoever ends the group. Every look at a group comes to an
//! end, says why where it cannot look, and leaves nobody stopped.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use harness::group::MARK;
use harness::process::{Stat, numbers_in};
use harness::{Program, Specimen, User, command, wait};
use nix::mount::{MntFlags, umount2};

use super::freeze_killed::{field, stuck};
use crate::done;

const PIPELINE: &str = "sleep 1000 | sleep 1000 & sleep 1000 & echo > ready; wait";

/// A child that its parent traces and has stopped.
const TRACES: &str = r#"
import ctypes, os, signal
child = os.fork()
if child == 0:
    ctypes.CDLL(None).ptrace(0, 0, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
os.waitpid(child, 0)
open("child", "w").write(str(child))
open("ready", "w")
signal.pause()"#;

const THREADS: &str = r#"
import threading, time
for _ in range(40): threading.Thread(target=time.sleep, args=(1000,)).start()
open("ready", "w")"#;

/// A filesystem with an empty folder, which a child has open: what the kernel asks of it is in linux/fuse.h.
const SERVES: &str = r#"
import ctypes, os, signal, struct
os.mkdir("served")
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
assert ctypes.CDLL(None).mount(b"test", b"served", b"fuse.test", 0, options) == 0
if os.fork() == 0:
    os.close(device)
    held = os.open("served", os.O_RDONLY)
    open("ready", "w")
    signal.pause()
folder = struct.pack("6Q10I", 1, 0, 0, 0, 0, 0, 0, 0, 0, 0o40755, 2, 0, 0, 0, 4096, 0)
lives_for = struct.pack("QII", 0, 0, 0)
answers = {
    26: struct.pack("IIIIHHIIHHI7I", 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, 0, *[0] * 7),
    3: lives_for + folder,
    27: lives_for,
    25: b"",
    29: b"",
}
while True:
    _, operation, unique, _ = struct.unpack_from("IIQQ", os.read(device, 1 << 17))
    if operation in (2, 36, 42):
        continue
    error, answer = (0, answers[operation]) if operation in answers else (-38, b"")
    os.write(device, struct.pack("IiQ", 16 + len(answer), error, unique) + answer)"#;

/// Looks at a group of others that look at this one, three at a time.
const LOOKS: &str = r#"
until [ -s other ]; do sleep 0.01; done
for k in 1 2 3; do
    (for i in 1 2 3 4 5 6; do "$0" check --json $(cat other) >/dev/null 2>&1; done; echo $k >> looked) &
done
wait
sleep 1000"#;

fn started(interpreter: &str, text: &str, user: User) -> Specimen {
    let words = [interpreter, "-c", text].map(str::to_owned);
    let mut specimen = Specimen::launch(&Program::named("at-once"), user, |_| {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    });
    if let Err(answer) = specimen.wait_ready() {
        panic!("it does not start: {answer:?}\n{}", specimen.errors());
    }
    specimen
}

fn check(pid: i32) -> Child {
    let mut dormouse = Command::new(command::path());
    dormouse.args(["check", &pid.to_string()]).env_remove(MARK).stdin(Stdio::null());
    done(dormouse.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn())
}

/// How it ended and what it said; panics if it does not end.
fn answer(mut check: Child) -> (ExitStatus, String) {
    if wait::until(wait::PATIENCE, || done(check.try_wait())).is_none() {
        let _ = check.kill();
        let _ = check.wait();
        panic!("`dormouse check` did not end within {:?}", wait::PATIENCE);
    }
    let output = done(check.wait_with_output());
    let said = [output.stdout, output.stderr].concat();
    (output.status, String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" "))
}

fn nobody_is_stopped(specimen: &mut Specimen) {
    let members = specimen.members();
    let mut wrong = Vec::new();
    let well = wait::until(Duration::from_secs(5), || {
        wrong = stuck(&members);
        wrong.is_empty().then_some(())
    });
    assert!(well.is_some(), "{}", wrong.join("\n"));
}

/// What each thread does, and who holds it.
fn told(pids: &BTreeSet<i32>) -> Vec<String> {
    let threads =
        pids.iter().flat_map(|pid| numbers_in(&format!("/proc/{pid}/task")).into_iter().map(move |tid| (pid, tid)));
    let told = threads.map(|(pid, tid)| {
        let task = format!("/proc/{pid}/task/{tid}");
        let read = |name: &str| std::fs::read_to_string(format!("{task}/{name}")).unwrap_or_default();
        let state = Stat::read(&format!("{task}/stat")).map_or('?', |stat| stat.state());
        let tracer = field(&task, "TracerPid").unwrap_or_default();
        let (name, call, place) = (read("comm"), read("syscall"), read("wchan"));
        format!(
            "{} {tid} of {pid}: state {state}, tracer {tracer}, waits in {place}, call {}",
            name.trim(),
            call.trim()
        )
    });
    told.collect()
}

#[test]
fn two_checks_of_one_group_both_answer() {
    let mut specimen = started("sh", PIPELINE, User::Ordinary);
    for _ in 0..12 {
        let checks = [check(specimen.pid()), check(specimen.pid())];
        for (status, said) in checks.map(answer) {
            assert_eq!(status.code(), Some(0), "{said}");
        }
        nobody_is_stopped(&mut specimen);
    }
}

/// Each of them belongs to a group that others stop.
#[test]
fn checks_that_look_at_each_other_all_end() {
    let launch = || {
        Specimen::launch(&Program::named("looks"), User::Root, |_| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", LOOKS]).arg(command::path());
            command
        })
    };
    let mut pair = [launch(), launch()];
    for (one, other) in [(0, 1), (1, 0)] {
        done(std::fs::write(pair[one].folder().join("other"), pair[other].pid().to_string()));
    }
    let looked = |specimen: &Specimen| {
        std::fs::read_to_string(specimen.folder().join("looked")).is_ok_and(|text| text.lines().count() == 3)
    };
    let all = wait::until(3 * wait::PATIENCE, || pair.iter().all(looked).then_some(()));
    let threads: Vec<String> = pair.iter_mut().flat_map(|specimen| told(&specimen.members())).collect();
    assert!(all.is_some(), "they hold each other:\n{}", threads.join("\n"));
    pair.iter_mut().for_each(nobody_is_stopped);
}

/// Traces the thread that has a process in hand, without a word to it; none where it has ended before.
fn seize_worker(of: i32) -> Option<i32> {
    let tracer = || field(&format!("/proc/{of}"), "TracerPid")?.parse().ok().filter(|tracer| *tracer != 0);
    let worker: i32 = wait::until(Duration::from_secs(1), tracer)?;
    // SAFETY: seizing passes no address.
    (unsafe { libc::ptrace(libc::PTRACE_SEIZE, worker, 0, 0) } == 0).then_some(worker)
}

/// Whoever traces a Dormouse would wait for it while it waits for that one, were it to stop for the news of its own tracees.
#[test]
fn a_dormouse_that_is_traced_does_not_stop_for_its_tracees() {
    let specimen = started("python3", THREADS, User::Ordinary);
    let mut seized = 0;
    for _ in 0..20 {
        let check = check(specimen.pid());
        if let Some(worker) = seize_worker(specimen.pid()) {
            seized += 1;
            let mut status = 0;
            let ended = wait::until(wait::PATIENCE, || {
                // SAFETY: `status` lives through the call, and WNOHANG keeps it from waiting.
                let told = unsafe { libc::waitpid(worker, &raw mut status, libc::__WALL | libc::WNOHANG) };
                (told != 0).then_some(())
            });
            let signal = libc::WIFSTOPPED(status).then(|| libc::WSTOPSIG(status));
            assert!(ended.is_some() && signal.is_none(), "it stops for signal {signal:?}");
        }
        let (status, said) = answer(check);
        assert_eq!(status.code(), Some(0), "{said}");
    }
    assert!(seized > 0, "no worker was found at work");
}

#[test]
fn whoever_is_traced_already_is_told_of_and_stays_as_it_is() {
    let specimen = started("python3", TRACES, User::Ordinary);
    let child: i32 = done(std::fs::read_to_string(specimen.folder().join("child"))).parse().unwrap_or(0);
    for pid in [specimen.pid(), child] {
        let (status, said) = answer(check(pid));
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("pid {} traces it already", specimen.pid())), "{said}");
    }
    let runs = wait::until(wait::PATIENCE, || (Stat::of(specimen.pid())?.state() == 'S').then_some(()));
    assert!(runs.is_some(), "the tracer does not run on");
    assert_eq!(Stat::of(child).map(|stat| stat.state()), Some('t'), "its child does not stand still any more");
}

#[test]
fn a_group_that_is_killed_in_the_middle_holds_nobody_up() {
    for moment in 0..10 {
        let specimen = started("python3", THREADS, User::Ordinary);
        let check = check(specimen.pid());
        std::thread::sleep(Duration::from_millis(6 * moment));
        // SAFETY: sends a signal to a process that this test has started.
        unsafe { libc::kill(specimen.pid(), libc::SIGKILL) };
        let (status, said) = answer(check);
        assert!(status.code().is_some(), "{said}");
        let mut ended = 0;
        // SAFETY: `ended` lives through the call, and WNOHANG keeps it from waiting.
        let buried = || (unsafe { libc::waitpid(specimen.pid(), &raw mut ended, libc::WNOHANG) } != 0).then_some(());
        assert!(wait::until(wait::PATIENCE, buried).is_some(), "it cannot be buried");
    }
}

/// Dropped, it is there no more, whoever still uses it.
struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn nobody_waits_for_a_filesystem_that_the_group_serves() {
    let mut specimen = started("python3", SERVES, User::Root);
    let served = Mount(specimen.folder().join("served"));
    let (status, said) = answer(check(specimen.pid()));
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("a filesystem that the group itself serves (FUSE)"), "{said}");
    nobody_is_stopped(&mut specimen);
    assert!(served.0.metadata().is_ok(), "it does not serve any more");
}

#[test]
fn the_shell_that_asks_is_told_why_it_cannot_be_frozen() {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(r#""$0" check $$; echo ended with $?"#).arg(command::path()).env_remove(MARK);
    let output = done(shell.stdin(Stdio::null()).output());
    let said = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("Dormouse itself runs in this group") && said.contains("ended with 2"), "{said}");
    assert!(said.contains("Way out Run Dormouse from another session"), "{said}");
}
