//! The freezers of control groups that hold the members and nobody else.

use super::control_group::{ControlGroup, Hierarchy, enter, is_frozen};
use super::*;

/// A counting pipeline in a control group of its own.
fn counting_in(group: &Path) -> (Job, i32, PathBuf) {
    let mut job = counting(User::Root);
    let (pid, count) = (job.specimen().pid(), count_of(&mut job));
    // Who is made meanwhile is made in the group of its parent.
    for _ in 0..3 {
        enter(group, &job.specimen().members());
    }
    (job, pid, count)
}

#[test]
fn a_control_group_of_its_own_is_frozen() {
    let group = ControlGroup::new(Hierarchy::Unified, "own");
    let (_job, pid, count) = counting_in(group.folder());
    assert_eq!(pause(pid)["by"], "control-group");
    assert!(group.is_frozen());
    assert_stands_still(&count);
    assert_ne!(state(pid), 'T', "it was sent a signal");
    assert_eq!(record_of(pid), None, "a frozen group is remembered by itself");
    dormouse(&["pause", &pid.to_string()]).expect_refusal("it is paused already");

    let resumed = resume(pid);
    assert_eq!(resumed["by"], serde_json::json!(["control-group"]));
    assert!(pids(&resumed).len() >= 3, "{resumed}");
    assert!(!group.is_frozen());
    assert_counts(&count);
}

#[test]
fn a_frozen_control_group_is_not_frozen_into_a_file() {
    let group = ControlGroup::new(Hierarchy::Unified, "file");
    let (mut job, pid, count) = counting_in(group.folder());
    pause(pid);
    let image = job.specimen().image();
    let way_out = format!("Resume it first: dormouse resume {pid}");
    dormouse(&["freeze", &pid.to_string(), "-o", &image.to_string_lossy()]).expect_refusal(&way_out);
    assert!(!image.exists() && group.is_frozen());
    resume(pid);
    assert_counts(&count);
}

#[test]
fn members_in_several_control_groups_are_frozen_in_each() {
    let top = ControlGroup::new(Hierarchy::Unified, "several");
    let (one, other) = (top.below("one"), top.below("other"));
    let (mut job, pid, count) = counting_in(&one);
    let children = job.specimen().members().into_iter().filter(|member| *member != pid).collect::<Vec<_>>();
    enter(&other, &children);
    assert_eq!(pause(pid)["by"], "control-group");
    assert!(is_frozen(&one) && is_frozen(&other));
    assert_stands_still(&count);
    resume(pid);
    assert!(!is_frozen(&one) && !is_frozen(&other));
    assert_counts(&count);
}

/// A freezer would hold the stranger still too.
#[test]
fn a_stranger_in_the_control_group_is_left_alone() {
    let group = ControlGroup::new(Hierarchy::Unified, "stranger");
    let (_job, pid, count) = counting_in(group.folder());
    let (_stranger, _, strangers_count) = counting_in(&group.below("below"));
    assert_eq!(pause(pid)["by"], "signal");
    assert!(!group.is_frozen());
    assert_stands_still(&count);
    assert_counts(&strangers_count);
    assert_eq!(resume(pid)["by"], serde_json::json!(["signal"]));
    assert_counts(&count);
}

/// One process of a frozen control group does not go on alone.
#[test]
fn a_part_of_a_frozen_control_group_is_not_resumed() {
    let group = ControlGroup::new(Hierarchy::Unified, "part");
    let (mut job, pid, count) = counting_in(group.folder());
    let child =
        job.specimen().members().into_iter().find(|member| Stat::of(*member).is_some_and(|it| it.ppid() == pid));
    let child = child.unwrap_or_else(|| panic!("the pipeline has no child"));
    pause(pid);
    dormouse(&["resume", &child.to_string()]).expect_refusal(&format!("holds bash (pid {pid}) still too"));
    assert_stands_still(&count);
    resume(pid);
    assert_counts(&count);
}

#[test]
fn the_old_freezer_is_taken_where_it_fits() {
    let group = ControlGroup::new(Hierarchy::Old, "old");
    let (mut job, pid, count) = counting_in(group.folder());
    assert_eq!(pause(pid)["by"], "old-freezer");
    assert_stands_still(&count);
    let image = job.specimen().image();
    dormouse(&["freeze", &pid.to_string(), "-o", &image.to_string_lossy()]).expect_refusal("Resume it first");
    assert_eq!(resume(pid)["by"], serde_json::json!(["old-freezer"]));
    assert_counts(&count);
}
