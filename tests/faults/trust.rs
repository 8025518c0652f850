//! Whoever can write into an image gains nothing when root thaws it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use ciborium::Value;
use harness::forge::{each, field, forged, group, set};
use harness::specimen::{Answer, ORDINARY};
use harness::{Program, Specimen, User};

use crate::ZOO;

fn asleep(name: &'static str, user: User) -> (Specimen, BTreeSet<i32>) {
    let mut specimen = Specimen::start(Path::new(ZOO), &Program::named(name), user);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let members = specimen.members();
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&members);
    (specimen, members)
}

/// A thaw of the image as it is now must be refused with these words, and leave nobody.
fn refused(specimen: &mut Specimen, members: &BTreeSet<i32>, words: &[&str]) {
    let outcome = specimen.thaw();
    assert!(!outcome.status.success(), "it was thawed");
    // One sentence on one line: the width of a message breaks it anywhere.
    let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(said.contains(word), "the refusal does not say `{word}`:\n{}", outcome.said);
    }
    let back: Vec<_> = members.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).collect();
    assert!(back.is_empty(), "a refused thaw left {back:?}");
}

fn owned_by_the_user(specimen: &Specimen) {
    chown(specimen.image(), Some(ORDINARY), Some(ORDINARY)).unwrap_or_else(|error| panic!("{error}"));
}

fn comes_back(specimen: &mut Specimen) {
    specimen.thaw().expect_success("thaw");
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

#[test]
fn an_image_of_an_ordinary_user_holds_no_process_of_root() {
    let (mut specimen, members) = asleep("regular_file", User::Root);
    owned_by_the_user(&specimen);
    refused(&mut specimen, &members, &["user 1000", "user 0", "capabilities", "chown root:root"]);
    chown(specimen.image(), Some(0), Some(0)).unwrap_or_else(|error| panic!("{error}"));
    comes_back(&mut specimen);
}

#[test]
fn an_ordinary_user_may_own_the_image_of_his_own_processes() {
    let (mut specimen, _) = asleep("regular_file", User::Ordinary);
    owned_by_the_user(&specimen);
    comes_back(&mut specimen);
}

#[test]
fn an_image_that_others_can_write_to_is_not_believed() {
    let (mut specimen, members) = asleep("regular_file", User::Root);
    for mode in [0o620, 0o602] {
        fs::set_permissions(specimen.image(), fs::Permissions::from_mode(mode))
            .unwrap_or_else(|error| panic!("{error}"));
        refused(&mut specimen, &members, &["may write to it", "chmod 600"]);
    }
    fs::set_permissions(specimen.image(), fs::Permissions::from_mode(0o600)).unwrap_or_else(|error| panic!("{error}"));
    comes_back(&mut specimen);
}

/// A change of a record; whether it found what it changes.
type Forgery = fn(&mut Value) -> bool;

#[test]
fn forged_rights_in_an_image_of_an_ordinary_user_are_refused() {
    let (mut specimen, members) = asleep("regular_file", User::Ordinary);
    let forgeries: [(Forgery, &str); 5] = [
        (|value| set(value, "users", Value::Array(vec![0.into(); 4])), "user 0"),
        (|value| set(value, "supplementary", Value::Array(vec![42.into()])), "group 42"),
        (|value| set(value, "ambient", 1.into()), "capabilities"),
        // With whose rights a file is opened.
        (|value| set(value, "user", 0.into()), "user 0"),
        (|value| field(value, "user").is_some() && set(value, "groups", Value::Array(vec![42.into()])), "group 42"),
    ];
    are_refused(&mut specimen, &members, &forgeries, "chown root:root");
    comes_back(&mut specimen);
}

/// A limit that is higher than the user can have here, as another machine or kernel gives it, is lowered; a forged one, too.
#[test]
fn a_limit_that_a_user_cannot_have_is_lowered() {
    const OPEN_FILES: usize = 7;
    let (mut specimen, _) = asleep("regular_file", User::Ordinary);
    let (image, kept) = (specimen.image(), specimen.image().with_file_name("kept.dormouse"));
    fs::rename(&image, &kept).unwrap_or_else(|error| panic!("{error}"));
    let mut record = group(&kept);
    let mut found = false;
    each(&mut record, &mut |value| {
        let limits = field(value, "limits").and_then(Value::as_array_mut);
        if let Some(one) = limits.and_then(|limits| limits.get_mut(OPEN_FILES)).and_then(Value::as_array_mut) {
            one[1] = (1_u64 << 40).into();
            found = true;
        }
    });
    assert!(found, "there are no limits");
    forged(&kept, &record, &image);
    owned_by_the_user(&specimen);
    let outcome = specimen.thaw();
    outcome.expect_success("thaw");
    let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("the limit on open files is lower here for its user than it was (1099511627776)"), "{said}");
    let hard = |pid: &str| {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_else(|error| panic!("{error}"));
        let line = limits.lines().find(|line| line.starts_with("Max open files")).map(str::to_owned);
        line.and_then(|line| line.split_whitespace().nth(4).map(str::to_owned))
    };
    assert_eq!(hard(&specimen.pid().to_string()), hard("self"));
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

/// The file of a socket would be given away.
#[test]
fn a_forged_owner_of_a_file_in_an_image_of_an_ordinary_user_is_refused() {
    let (mut specimen, members) = asleep("unix_names", User::Ordinary);
    let forgeries: [(Forgery, &str); 1] = [(
        |value| field(value, "maker").is_some() && set(value, "owner", Value::Array(vec![0.into(), 1000.into()])),
        "user 0",
    )];
    are_refused(&mut specimen, &members, &forgeries, "chown root:root");
    comes_back(&mut specimen);
}

/// Each of these changes is refused with the word that stands beside it, and one that all have in common.
fn are_refused(specimen: &mut Specimen, members: &BTreeSet<i32>, forgeries: &[(Forgery, &str)], also: &str) {
    let (image, kept) = (specimen.image(), specimen.image().with_file_name("kept.dormouse"));
    fs::rename(&image, &kept).unwrap_or_else(|error| panic!("{error}"));
    for (forgery, word) in forgeries.iter().copied() {
        let mut record = group(&kept);
        let mut found = false;
        each(&mut record, &mut |value| found |= forgery(value));
        assert!(found, "nothing is there to be forged: {word}");
        forged(&kept, &record, &image);
        owned_by_the_user(specimen);
        refused(specimen, members, &[word, also]);
        fs::remove_file(&image).unwrap_or_else(|error| panic!("{error}"));
    }
    fs::rename(&kept, &image).unwrap_or_else(|error| panic!("{error}"));
}

/// A filter without no_new_privs would confine programs with rights of their own, too; one that is no program is none.
#[test]
fn forged_filters_in_an_image_of_an_ordinary_user_are_refused() {
    let (mut specimen, members) = asleep("seccomp_filters", User::Ordinary);
    let forgeries: [(Forgery, &str); 4] = [
        (|value| set(value, "no_new_privileges", false.into()), "without no_new_privs"),
        (
            |value| set(value, "program", Value::Bytes(vec![0xff; 64])),
            "cannot take on a filter of system calls (seccomp) again: Invalid argument",
        ),
        (|value| set(value, "program", Value::Bytes(vec![0; 12])), "confined by filters that cannot be"),
        (|value| set(value, "Filters", Value::Array(vec![77.into()])), "confined by filters that cannot be"),
    ];
    are_refused(&mut specimen, &members, &forgeries, "dormouse: ");
    comes_back(&mut specimen);
}
