//! What a user can wish of a thaw where something stands in its way: files that have changed, people with other numbers; and bundles.

use std::fs;
use std::os::unix::fs::chown;

use ciborium::Value;
use dormouse_engine::image::SectionKind;
use dormouse_wire::dbus::{Failure, Sleeping};
use dormouse_wire::{Problem, Remedy, Thawed};
use harness::forge::forged_section;
use harness::specimen::Answer;
use harness::{Specimen, User};

use crate::client::Call;
use crate::machine::{ANNA, Machine, OWN, done};
use crate::sleep::{asleep, gone, images, of, started};

/// Freezes it as Anna with copies of the files that it has open; the name of the image.
fn asleep_with_files(machine: &Machine, specimen: &mut Specimen) -> String {
    let job = machine.told(ANNA, &Call::FreezeWithFiles(specimen.pid().to_string()));
    assert_eq!(job["state"], "done", "{job}");
    gone(specimen);
    images(machine, ANNA).pop().map(|image| image.id).unwrap_or_default()
}

/// Wakes it in this way, which is refused.
fn refused(machine: &Machine, image: &str, wishes: &[(&str, &str)]) -> Failure {
    let job = machine.told(ANNA, &so(image, wishes));
    assert_eq!(job["state"], "failed", "{job}");
    of(job["result"].clone())
}

/// Wakes it in this way.
fn awake(machine: &Machine, specimen: &mut Specimen, image: &str, wishes: &[(&str, &str)]) -> Thawed {
    let job = machine.told(ANNA, &so(image, wishes));
    assert_eq!(job["state"], "done", "{job}");
    let thawed: Thawed = of(job["result"].clone());
    assert!(thawed.processes.iter().any(|process| process.pid.0 == specimen.pid()), "{thawed:?}");
    thawed
}

fn so(image: &str, wishes: &[(&str, &str)]) -> Call {
    let wishes = wishes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Call::ThawSo(image.to_owned(), wishes)
}

fn remedies(problems: &[Problem]) -> Vec<Vec<Remedy>> {
    problems.iter().map(|problem| problem.remedies.clone()).collect()
}

#[test]
fn files_that_have_changed_are_used_as_their_user_wishes() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("regular_file", User::Ordinary);
    let path = &done(fs::read_link(format!("/proc/{}/fd/3", specimen.pid())));
    let image = asleep_with_files(&machine, &mut specimen);
    let before = done(fs::read(path));
    done(fs::write(path, ""));
    let problems: Vec<Problem> = of(machine.told(ANNA, &Call::Preflight(image.clone())));
    let told = remedies(&problems);
    assert!(!told.is_empty() && told.iter().all(|all| *all == [Remedy::KeptFiles, Remedy::NewFiles]), "{problems:?}");
    assert_eq!(remedies(&refused(&machine, &image, &[]).problems), told);
    let error = machine.ask(ANNA, &so(&image, &[("changed-files", "old")])).expect_err("there is no such wish");
    assert!(error.contains("changed-files"), "{error}");
    let thawed = awake(&machine, &mut specimen, &image, &[("changed-files", "kept")]);
    assert!(thawed.losses.iter().any(|loss| loss.to_string().contains("copy of the freeze")), "{thawed:?}");
    // What it has is what it had; the file stays as it is.
    assert_eq!(done(fs::read(path)), b"");
    let link = done(fs::read_dir(format!("/proc/{}/fd", specimen.pid())));
    let opened = link.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    let name = path.file_name().unwrap_or_default();
    let copy = opened.into_iter().find(|opened| opened.file_name() == Some(name) && opened != path);
    assert_eq!(copy.map(|copy| done(fs::read(copy))), Some(before));
}

#[test]
fn people_with_other_numbers_are_who_their_user_wishes() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("regular_file", User::Ordinary);
    let image = asleep(&machine, &mut specimen);
    let path = machine.images(ANNA).join(&image);
    // As another machine had written it, where somebody else had this number.
    let called = |id: u32, name: &str| {
        let one = |name: &str| Value::Map(vec![(id.into(), name.into())]);
        Value::Map(vec![("users".into(), one(name)), ("groups".into(), one("root"))])
    };
    let other = path.with_file_name("other.dormouse");
    forged_section(&path, SectionKind::Owners, &called(ANNA, "root"), &other);
    done(chown(&other, Some(ANNA), Some(ANNA)));
    let failure = refused(&machine, "other.dormouse", &[]);
    let expected = [Remedy::ByName, Remedy::AsTheyAre];
    assert_eq!(remedies(&failure.problems), [expected.to_vec(), expected.to_vec()], "{failure:?}");
    let said: Vec<String> = failure.problems.iter().map(|problem| problem.what.to_string()).collect();
    assert!(said.iter().any(|what| what.contains("was called root, and root is user 0 here")), "{said:?}");
    let problems: Vec<Problem> = of(machine.told(ANNA, &Call::Preflight("other.dormouse".to_owned())));
    assert!(problems.iter().any(|problem| problem.remedies == expected), "{problems:?}");
    // Nobody becomes root by calling himself so.
    let failure = refused(&machine, "other.dormouse", &[("users", "by-name")]);
    assert!(failure.problems.iter().any(|problem| problem.to_string().contains("user 0")), "{failure:?}");
    awake(&machine, &mut specimen, "other.dormouse", &[("users", "as-they-are")]);
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

#[test]
fn a_bundle_goes_out_and_comes_in() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("regular_file", User::Ordinary);
    let image = asleep(&machine, &mut specimen);
    let bundle = machine.home(ANNA).join("out.dormouse-bundle");
    let path = bundle.to_string_lossy().into_owned();
    let job = machine.told(ANNA, &Call::ExportBundle(image.clone(), path.clone(), true));
    assert_eq!(job["state"], "done", "{job}");
    let exported = &job["result"];
    assert!(exported["files"].as_u64().is_some_and(|files| files > 1), "{exported}");
    assert_eq!(exported["working_files_left"], 0, "{exported}");
    machine.told(ANNA, &Call::Delete(image));
    let job = machine.told(ANNA, &Call::Import("back".to_owned(), path));
    assert_eq!(job["state"], "done", "{job}");
    let sleeping: Sleeping = of(job["result"].clone());
    awake(&machine, &mut specimen, &sleeping.id, &[]);
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}
