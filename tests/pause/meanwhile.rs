//! A control group that is frozen in the middle of a check or a freeze of what is in it: they come to an end all the same,
//! and nothing of them is seen once it goes on.

use super::control_group::{ControlGroup, Hierarchy, enter};
use super::*;

/// Freezes a control group so long after the command has started, and waits for the command to end meanwhile.
fn frozen_during(group: &ControlGroup, after: Duration, arguments: &[&str]) -> (Option<i32>, String) {
    let mut dormouse = Command::new(command::path());
    dormouse.args(arguments).env_remove(MARK).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = dormouse.spawn().unwrap_or_else(|error| panic!("{error}"));
    std::thread::sleep(after);
    group.freeze(true);
    let ended = until(PATIENCE, || running.try_wait().unwrap_or_else(|error| panic!("{error}")));
    group.freeze(false);
    if ended.is_none() {
        let _ = running.kill();
    }
    let output = running.wait_with_output().unwrap_or_else(|error| panic!("{error}"));
    assert!(ended.is_some(), "`dormouse {}` did not end, frozen after {after:?}", arguments.join(" "));
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Everybody runs, and nobody is traced.
fn assert_well(job: &mut Job, count: &Path) {
    let members = job.specimen().members();
    let is_well = |pid: &i32| {
        let status = harness::process::status(&format!("/proc/{pid}/status")).unwrap_or_default();
        let traced = status.iter().any(|(key, value)| key == "TracerPid" && value != "0");
        !traced && !matches!(state(*pid), 't' | 'T')
    };
    let well = until(Duration::from_secs(5), || members.iter().all(is_well).then_some(()));
    assert!(well.is_some(), "somebody is still stopped or traced among {members:?}");
    assert_counts(count);
}

fn checked(hierarchy: Hierarchy, moments: u64) {
    let group = ControlGroup::new(hierarchy, "check");
    let mut job = counting(User::Root);
    let (pid, count) = (job.specimen().pid(), count_of(&mut job));
    (0..3).for_each(|_| enter(group.folder(), &job.specimen().members()));
    let mut refusals = 0;
    for moment in 0..moments {
        let after = Duration::from_millis(moment * 60 / moments);
        let (code, said) = frozen_during(&group, after, &["check", &pid.to_string()]);
        match code {
            Some(0) => {}
            Some(2) if said.contains("control group") && said.contains("Way out") => refusals += 1,
            _ => panic!("frozen after {after:?}, it ended with {code:?}:\n{said}"),
        }
        assert_well(&mut job, &count);
    }
    assert!(refusals > 0, "the control group was never frozen in time");
}

#[test]
fn a_check_ends_when_its_group_is_frozen_meanwhile() {
    checked(Hierarchy::Unified, 30);
}

#[test]
fn a_check_ends_when_its_group_is_frozen_meanwhile_by_the_old_freezer() {
    checked(Hierarchy::Old, 4);
}

#[test]
fn a_freeze_ends_when_its_group_is_frozen_meanwhile() {
    let group = ControlGroup::new(Hierarchy::Unified, "freeze");
    for moment in 0..8 {
        let mut job = counting(User::Root);
        let (pid, count) = (job.specimen().pid(), count_of(&mut job));
        (0..3).for_each(|_| enter(group.folder(), &job.specimen().members()));
        let image = job.specimen().image();
        let after = Duration::from_millis(moment * 7);
        let arguments = ["freeze", &pid.to_string(), "-o", &image.to_string_lossy()];
        let (code, said) = frozen_during(&group, after, &arguments);
        if code == Some(0) {
            assert!(image.exists(), "{said}");
            continue;
        }
        assert!(said.contains("control group"), "frozen after {after:?}:\n{said}");
        assert!(!image.exists(), "there is an image although the freeze failed");
        assert_well(&mut job, &count);
    }
}
