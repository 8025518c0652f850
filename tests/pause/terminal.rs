//! Jobs of an interactive shell on a terminal.

use harness::alone::with_terminals;
use harness::terminal::Terminal;

use super::*;

fn shell(folder: &Path) -> Terminal {
    Terminal::shell("bash", User::Root, folder, &[(MARK, &folder.to_string_lossy())])
}

/// The shell, which is a member too, does not notice that its child was stopped.
#[test]
fn a_shell_that_is_paused_with_its_job_says_nothing() {
    let _alone = with_terminals();
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let count = folder.path().join("count");
    fs::write(folder.path().join("count.sh"), COUNT).unwrap_or_else(|error| panic!("{error}"));
    let mut terminal = shell(folder.path());
    terminal.type_in("bash count.sh; echo ended with $?\r");
    assert_counts(&count);
    terminal.settle();
    for _ in 0..5 {
        let paused = pause(terminal.leader());
        assert!(pids(&paused).len() >= 4, "{paused}");
        assert_stands_still(&count);
        resume(terminal.leader());
        assert_counts(&count);
    }
    assert_eq!(terminal.rest(), "", "the shell has noticed");
    terminal.type_in("\x03");
    terminal.wait_for("READY> ");
    terminal.type_in("echo still he\"\"re\r");
    terminal.wait_for("still here\n");
}

/// A job that was stopped with Ctrl-Z before the pause waits for `fg` after it.
#[test]
fn a_job_stopped_with_ctrl_z_stays_stopped() {
    let _alone = with_terminals();
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let count = folder.path().join("count");
    fs::write(folder.path().join("count.sh"), COUNT).unwrap_or_else(|error| panic!("{error}"));
    let mut terminal = shell(folder.path());
    terminal.type_in("bash count.sh\r");
    assert_counts(&count);
    terminal.type_in("\x1a");
    terminal.wait_for("Stopped");
    terminal.wait_for("READY> ");
    let paused = pause(terminal.leader());
    assert!(pids(&paused).len() >= 4, "{paused}");
    assert_eq!(pids(&resume(terminal.leader())), BTreeSet::from([terminal.leader()]));
    assert_stands_still(&count);
    terminal.type_in("fg\r");
    assert_counts(&count);
    terminal.type_in("\x03");
    terminal.wait_for("READY> ");
}

/// A shell that is no member finds its job stopped, as by Ctrl-Z, and has it continued by the resume.
#[test]
fn a_shell_outside_finds_its_job_stopped_and_continued() {
    let _alone = with_terminals();
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let count = folder.path().join("count");
    fs::write(folder.path().join("count.sh"), COUNT).unwrap_or_else(|error| panic!("{error}"));
    let mut terminal = shell(folder.path());
    terminal.type_in("bash count.sh\r");
    assert_counts(&count);
    let job = harness::process::numbers_in("/proc")
        .into_iter()
        .find(|pid| Stat::of(*pid).is_some_and(|stat| stat.ppid() == terminal.leader()));
    let job = job.unwrap_or_else(|| panic!("the shell has no job"));
    pause(job);
    terminal.wait_for("Stopped");
    terminal.wait_for("READY> ");
    assert_stands_still(&count);
    resume(job);
    assert_counts(&count);
    terminal.type_in("fg\r");
    terminal.wait_for("bash count.sh\n");
    terminal.type_in("\x03");
    terminal.wait_for("READY> ");
}
