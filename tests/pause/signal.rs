//! SIGSTOP, where the processes have no control group to themselves.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use harness::specimen::ORDINARY;
use harness::wait::{PATIENCE, until};
use harness::{Job, User, command, group};

use super::*;

#[test]
fn a_paused_pipeline_stands_still_and_goes_on() {
    for user in [User::Root, User::Ordinary] {
        let mut job = counting(user);
        let (pid, count) = (job.specimen().pid(), count_of(&mut job));
        let paused = pause(pid);
        assert_eq!(paused["by"], "signal");
        assert!(pids(&paused).contains(&pid) && pids(&paused).len() >= 3, "{paused}");
        assert_stands_still(&count);
        let record = record_of(pid).unwrap_or_else(|| panic!("nothing remembers the pause"));
        assert_eq!(fs::metadata(&record).map(|found| found.mode() & 0o777).ok(), Some(0o600));
        dormouse(&["pause", &pid.to_string()]).expect_refusal("it is paused already");

        assert_eq!(pids(&resume(pid)), pids(&paused));
        assert_counts(&count);
        assert_eq!(record_of(pid), None, "the record is still there");
        dormouse(&["resume", &pid.to_string()]).expect_refusal("it is not paused");
    }
}

#[test]
fn a_person_is_told_how_to_go_on() {
    let mut job = counting(User::Root);
    let pid = job.specimen().pid();
    let said = dormouse(&["pause", &pid.to_string()]).expect_success().said;
    let begins = format!("processes, bash (pid {pid}) first, by SIGSTOP. To go on: dormouse resume {pid}");
    assert!(said.starts_with("Paused ") && said.ends_with(&begins), "{said}");
    let said = dormouse(&["resume", &pid.to_string()]).expect_success().said;
    assert!(said.ends_with(&format!("processes, bash (pid {pid}) first, go on.")), "{said}");
}

/// A job with a part that stands still by Ctrl-Z.
#[test]
fn who_was_stopped_before_stays_stopped() {
    let mut job = counting(User::Root);
    let (pid, count) = (job.specimen().pid(), count_of(&mut job));
    let script = "sleep 1000 & echo $! > asleep; wait";
    let mut other = Job::script(&["bash"], User::Root, ("other.sh", script), &[]);
    let (other_pid, asleep) = (other.specimen().pid(), other.specimen().folder().join("asleep"));
    let sleeper = until(PATIENCE, || fs::read_to_string(&asleep).ok()?.trim().parse::<i32>().ok());
    let sleeper = sleeper.unwrap_or_else(|| panic!("there is no sleeper"));
    // SAFETY: sends a signal to a process that this test has started.
    unsafe { libc::kill(sleeper, libc::SIGSTOP) };
    until(PATIENCE, || (state(sleeper) == 'T').then_some(()));

    pause(other_pid);
    assert_eq!((state(other_pid), state(sleeper)), ('T', 'T'));
    assert_eq!(pids(&resume(other_pid)), BTreeSet::from([other_pid]));
    assert_ne!(state(other_pid), 'T');
    assert_eq!(state(sleeper), 'T');

    // A group that was stopped by others altogether is nobody's to continue.
    // SAFETY: sends a signal to a process that this test has started.
    unsafe { libc::kill(other_pid, libc::SIGSTOP) };
    until(PATIENCE, || (state(other_pid) == 'T').then_some(()));
    dormouse(&["pause", &other_pid.to_string()]).expect_refusal("it is stopped already, by Ctrl-Z or another signal");
    dormouse(&["resume", &other_pid.to_string()]).expect_refusal("something else has stopped it");
    assert_counts(&count);
    let _ = pid;
}

/// A part is paused, then the whole: the resume of the whole lets all go on.
#[test]
fn a_pause_within_a_pause_ends_with_it() {
    let mut job = counting(User::Root);
    let (pid, count) = (job.specimen().pid(), count_of(&mut job));
    let child =
        job.specimen().members().into_iter().find(|member| Stat::of(*member).is_some_and(|it| it.ppid() == pid));
    let child = child.unwrap_or_else(|| panic!("the pipeline has no child"));
    pause(child);
    // Whoever reads from it comes to the end of what was written.
    std::thread::sleep(Duration::from_millis(200));
    assert_stands_still(&count);
    pause(pid);
    resume(pid);
    assert_counts(&count);
}

/// Processes that make others without end, several at a time, and do not wait for all of them.
#[test]
fn a_storm_of_forks_ends_stopped() {
    const STORM: &str = "
storm() { for i in 1 2 3; do (for j in 1 2; do /bin/true & (:); done; wait) & done; wait; echo $((++n)) > count.new; mv count.new count; }
while :; do storm; done & while :; do (while :; do /bin/true; done) & kill $!; (:) ; done
";
    let mut job = Job::script(&["bash"], User::Root, ("storm.sh", STORM), &[]);
    let (pid, count) = (job.specimen().pid(), count_of(&mut job));
    for _ in 0..5 {
        assert_counts(&count);
        pause(pid);
        let members = job.specimen().members();
        assert_stands_still(&count);
        let later = job.specimen().members();
        // Who was just ending when the storm stopped has ended by now.
        assert!(later.is_subset(&members), "processes were made in the pause: {later:?} was {members:?}");
        for member in &later {
            let stands = matches!(state(*member), 'T' | 'Z');
            assert!(stands, "pid {member} is not stopped: {}", state(*member));
        }
        resume(pid);
    }
    assert_counts(&count);
}

/// A process that waits for its vfork child hears no signal until the child goes on.
#[test]
fn a_parent_in_vfork_stands_still() {
    const VFORK: &str = r#"
#define _DEFAULT_SOURCE
#include <unistd.h>
#include <sys/wait.h>
int main(void) {
    for (;;) {
        pid_t child = vfork();
        if (child == 0) {
            usleep(300000);
            execl("/bin/sh", "sh", "-c", "echo $$ > count", (char *)0);
            _exit(1);
        }
        waitpid(child, 0, 0);
    }
}
"#;
    let mut job = Job::start("vfork", User::Root, |folder| {
        fs::write(folder.join("main.c"), VFORK).unwrap_or_else(|error| panic!("{error}"));
        let built = Command::new("gcc").args(["-o", "starter", "main.c"]).current_dir(folder).status();
        assert!(built.is_ok_and(|status| status.success()), "gcc does not build the program");
        Command::new(folder.join("starter"))
    });
    let (pid, count) = (job.specimen().pid(), count_of(&mut job));
    for _ in 0..3 {
        assert_counts(&count);
        pause(pid);
        let before = number(&count);
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(number(&count), before, "its children go on");
        resume(pid);
    }
    assert_counts(&count);
}

/// The process that the pause began from is ended; who it leaves behind has another parent.
#[test]
fn who_has_lost_its_parent_is_resumed_all_the_same() {
    let mut job = counting(User::Root);
    let (pid, count) = (job.specimen().pid(), count_of(&mut job));
    pause(pid);
    // SAFETY: sends a signal to a process that this test has started.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    let gone = until(PATIENCE, || {
        group::reap(&BTreeSet::from([pid]));
        Stat::of(pid).is_none().then_some(())
    });
    assert!(gone.is_some(), "it has not ended");
    assert_stands_still(&count);
    assert!(!pids(&resume(pid)).contains(&pid));
    assert_counts(&count);
    dormouse(&["resume", &pid.to_string()]).expect_refusal("there is no such process");
}

/// A record about a process that has ended, and whose pid another has now, says nothing.
#[test]
fn a_stale_record_is_removed() {
    let mut job = counting(User::Root);
    let pid = job.specimen().pid();
    let start: u64 = Stat::of(pid).and_then(|stat| stat.field(22).parse().ok()).unwrap_or_default();
    // SAFETY: sends a signal to a process that this test has started.
    unsafe { libc::kill(pid, libc::SIGSTOP) };
    until(PATIENCE, || (state(pid) == 'T').then_some(()));
    let record = format!("/run/dormouse/{pid}-{}.pause", start - 1);
    let text = format!("dormouse pause 1\ngroup {pid} {}\nstopped {pid} {}\n", start - 1, start - 1);
    let _ = dormouse(&["resume", &i32::MAX.to_string()]);
    fs::write(&record, text).unwrap_or_else(|error| panic!("{record}: {error}"));
    dormouse(&["resume", &pid.to_string()]).expect_refusal("something else has stopped it");
    assert_eq!(state(pid), 'T');
    assert!(!Path::new(&record).exists(), "the record is still there");
}

#[test]
fn what_cannot_be_paused_is_refused() {
    let own = std::process::id().to_string();
    dormouse(&["pause", "1"]).expect_refusal("Dormouse itself runs in this group");
    dormouse(&["pause", &own]).expect_refusal("Dormouse itself runs in this group");
    dormouse(&["pause", &i32::MAX.to_string()]).expect_refusal("there is no such process");
    let is_kernels = |pid: &i32| {
        Stat::of(*pid).is_some_and(|stat| stat.field(9).parse().is_ok_and(|flags: u32| flags & 0x20_0000 != 0))
    };
    if let Some(thread) = harness::process::numbers_in("/proc").into_iter().find(is_kernels) {
        dormouse(&["pause", &thread.to_string()]).expect_refusal("it is a thread of the kernel");
    }
    let wrong = dormouse(&["pause", "--json", &i32::MAX.to_string()]);
    assert!(!wrong.succeeded && wrong.out.contains("\"kind\": \"selection\""), "{}", wrong.out);
}

/// Nobody needs to be root to pause what is one's own.
#[test]
fn an_ordinary_user_pauses_what_is_its_own() {
    let mut job = counting(User::Ordinary);
    let (pid, count) = (job.specimen().pid(), count_of(&mut job));
    let place = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let binary = place.path().join("the-command");
    let made = fs::copy(command::path(), &binary)
        .and_then(|_| std::os::unix::fs::chown(place.path(), Some(ORDINARY), Some(ORDINARY)))
        .and_then(|()| fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)));
    made.unwrap_or_else(|error| panic!("{error}"));
    let as_user = |verb: &str, pid: i32| {
        let mut dormouse = Command::new(&binary);
        dormouse.args([verb, &pid.to_string()]).uid(ORDINARY).gid(ORDINARY).current_dir("/").env_remove(MARK);
        answer(dormouse.env("XDG_RUNTIME_DIR", place.path()))
    };
    as_user("pause", pid).expect_success();
    assert_stands_still(&count);
    as_user("resume", pid).expect_success();
    assert_counts(&count);

    let mut of_root = counting(User::Root);
    let (pid, count) = (of_root.specimen().pid(), count_of(&mut of_root));
    as_user("pause", pid).expect_refusal("it cannot be stopped: Operation not permitted");
    assert_counts(&count);
}

/// A group that is paused can be frozen into a file, and comes back stopped.
#[test]
fn a_paused_group_is_frozen_and_comes_back_stopped() {
    let mut job = counting(User::Root);
    let (pid, count) = (job.specimen().pid(), count_of(&mut job));
    pause(pid);
    let frozen = job.fall_asleep();
    job.wake_up(&frozen);
    assert_stands_still(&count);
    dormouse(&["resume", &pid.to_string()]).expect_refusal("Dormouse has not paused it");
    for member in frozen {
        // SAFETY: sends a signal to a process that this test has started.
        unsafe { libc::kill(member, libc::SIGCONT) };
    }
    assert_counts(&count);
}

/// Where there is swap the memory goes there; where there is none, that is said.
#[test]
fn memory_goes_to_swap_where_there_is_some() {
    const LARGE: &str = "
import os, time
memory = os.urandom(64 * 1024 * 1024)
open('count', 'w').write('ready')
while True: time.sleep(1)
";
    let mut job = Job::script(&["python3"], User::Root, ("large.py", LARGE), &[]);
    let (pid, count) = (job.specimen().pid(), count_of(&mut job));
    until(PATIENCE, || (number(&count) == "ready").then_some(()));
    let has_swap = fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1);
    let answer = dormouse(&["pause", "--json", "--reclaim", &pid.to_string()]).json();
    let moved = answer["reclaimed"]["moved"].as_u64();
    if has_swap {
        assert!(moved.is_some_and(|moved| moved > 32 << 20), "{answer}");
    } else {
        assert_eq!(moved, Some(0));
        assert!(answer["reclaimed"]["why_not"].as_str().is_some_and(|why| why.contains("no swap")), "{answer}");
    }
    resume(pid);
}
