//! What fails: nobody stays held off who is awake, and whoever sleeps stays held off.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use dormouse_engine::image::{Reader, SectionKind};
use dormouse_engine::kernel::nftables::Ends;
use dormouse_engine::resource::fd::network::hold;
use dormouse_engine::resource::group::Group;
use harness::forge::{each, field, forged, group, set};
use harness::specimen::{ORDINARY, Specimen, without_inheritance};
use harness::wait::{PATIENCE, until};
use harness::{User, command};

use crate::network::{Network, ip};
use crate::talk::Talk;
use crate::{ends_well, says, sleeps};

/// What an image calls what holds its connections off.
fn id(specimen: &Specimen) -> String {
    let reader = Reader::open(&specimen.image()).unwrap_or_else(|error| panic!("{error}"));
    let group: Group = reader.section(SectionKind::Group).unwrap_or_else(|error| panic!("{error}"));
    group.hold.unwrap_or_else(|| panic!("nothing is held off for the image"))
}

fn held(specimen: &Specimen) -> Vec<Ends> {
    hold::held(&id(specimen)).into_iter().collect()
}

#[test]
fn who_is_not_frozen_after_all_is_held_off_no_longer() {
    let _network = Network::new();
    let (mut talk, mut job) = Talk::start("127.0.0.1", User::Ordinary);
    talk.exchange(1000);
    let place = job.specimen().folder().with_file_name("small");
    fs::create_dir(&place).unwrap_or_else(|error| panic!("{error}"));
    let on = std::ffi::CString::new(place.to_string_lossy().as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    // SAFETY: all texts end with a zero and live through the call.
    let mounted =
        unsafe { libc::mount(c"none".as_ptr(), on.as_ptr(), c"tmpfs".as_ptr(), 0, c"size=200k".as_ptr().cast()) };
    assert_eq!(mounted, 0, "{}", std::io::Error::last_os_error());
    let pid = job.specimen().pid().to_string();
    let image = place.join("image.dormouse");
    let notes = job.specimen().folder().with_file_name("");
    let refused = command::run(&["freeze", &pid, "--keep-connections", "-o", &image.to_string_lossy()], &notes, || {});
    // SAFETY: the text ends with a zero and lives through the call.
    unsafe { libc::umount2(on.as_ptr(), libc::MNT_DETACH) };
    assert!(!refused.status.success());
    says(&refused.said, &["No space left"]);
    talk.exchange(1000);
    talk.hear_all();
    ends_well(&mut job, &talk);
}

#[test]
fn a_freeze_that_is_killed_holds_nobody_off() {
    let _network = Network::new();
    let mut killed = 0;
    for moment in [20, 30, 40, 50, 60, 70, 80] {
        let (mut talk, mut job) = Talk::start("127.0.0.1", User::Root);
        let (pid, image) = (job.specimen().pid().to_string(), job.specimen().image());
        talk.exchange(1000);
        let mut freeze = Command::new(command::path());
        freeze.args(["freeze", &pid, "--keep-connections", "--compression", "small", "-o"]).arg(&image);
        freeze.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut freeze = without_inheritance(&mut freeze).spawn().unwrap_or_else(|error| panic!("{error}"));
        std::thread::sleep(Duration::from_millis(moment));
        freeze.kill().unwrap_or_else(|error| panic!("{error}"));
        freeze.wait().unwrap_or_else(|error| panic!("{error}"));
        // Else it was too late.
        if !image.exists() {
            killed += 1;
            talk.exchange(1000);
            talk.hear_all();
            ends_well(&mut job, &talk);
        }
    }
    assert!(killed > 0, "every freeze was done before it was killed");
}

#[test]
fn a_thaw_that_fails_leaves_the_image_and_the_hold_and_a_second_one_does_it() {
    let _network = Network::new();
    ip("addr add 10.77.0.1/32 dev lo");
    let (mut talk, mut job) = Talk::start("10.77.0.1", User::Ordinary);
    talk.exchange(1000);
    talk.say(5000);
    sleeps(job.specimen());
    let before = held(job.specimen());
    assert_eq!(before, [Ends { own: talk.peer(), peer: talk.own() }]);
    ip("addr del 10.77.0.1/32 dev lo");
    let refused = job.specimen().thaw();
    assert!(!refused.status.success(), "it was thawed without its address");
    let named = talk.peer().to_string();
    says(&refused.said, &["does not have the address", &named, "--reset-connections"]);
    assert_eq!(held(job.specimen()), before);
    ip("addr add 10.77.0.1/32 dev lo");
    talk.say_what_fits(5000);
    // One that is killed in the middle of the work leaves no socket behind that would say something.
    let (image, mut killed) = (job.specimen().image(), 0);
    for moment in [6, 9, 12, 15] {
        let mut thaw = Command::new(command::path());
        thaw.arg("thaw").arg(&image).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut thaw = without_inheritance(&mut thaw).spawn().unwrap_or_else(|error| panic!("{error}"));
        std::thread::sleep(Duration::from_millis(moment));
        thaw.kill().unwrap_or_else(|error| panic!("{error}"));
        thaw.wait().unwrap_or_else(|error| panic!("{error}"));
        if held(job.specimen()).is_empty() {
            break;
        }
        killed += 1;
        let gone = until(PATIENCE, || job.specimen().members().is_empty().then_some(()));
        assert!(gone.is_some(), "a half-built group stays");
    }
    assert!(killed > 0, "no thaw was killed in the middle");
    if !held(job.specimen()).is_empty() {
        job.specimen().thaw().expect_success("thaw");
    }
    assert!(held(job.specimen()).is_empty(), "it is held off after the thaw");
    talk.hear_all();
    ends_well(&mut job, &talk);
}

#[test]
fn connections_are_given_up_on_request() {
    let _network = Network::new();
    let (mut talk, mut job) = Talk::start("127.0.0.1", User::Ordinary);
    talk.exchange(1000);
    sleeps(job.specimen());
    let thawed = job.specimen().thaw_with(&["--reset-connections"]);
    thawed.expect_success("thaw");
    says(&thawed.said, &["is not wanted back", "finds it reset"]);
    assert!(held(job.specimen()).is_empty());
    assert!(talk.is_reset());
    let told = until(PATIENCE, || job.specimen().errors().contains("ConnectionResetError").then_some(()));
    assert!(told.is_some(), "{}", job.specimen().errors());
}

#[test]
fn what_is_forgotten_by_the_kernel_is_told_or_held_off_anew() {
    let _network = Network::new();
    let (mut talk, mut job) = Talk::start("127.0.0.1", User::Ordinary);
    talk.exchange(1000);
    sleeps(job.specimen());
    let lift = |specimen: &Specimen| hold::lift(&id(specimen)).unwrap_or_else(|errno| panic!("{errno}"));
    // As the start of a machine does.
    lift(job.specimen());
    let (image, notes) = (job.specimen().image(), job.specimen().folder().with_file_name(""));
    let image_name = image.to_string_lossy().into_owned();
    let again = command::run(&["hold", &image_name], &notes, || {});
    again.expect_success("hold");
    says(&again.said, &["The other end of 1 connection is held off until the thaw."]);
    talk.say(5000);
    job.specimen().thaw().expect_success("thaw");
    talk.exchange(1000);
    // While it is awake its connection cannot be held off.
    let refused = command::run(&["hold", &image_name], &notes, || {});
    assert!(!refused.status.success());
    says(&refused.said, &["goes on already"]);
    talk.exchange(1000);

    fs::remove_file(&image).unwrap_or_else(|error| panic!("{error}"));
    sleeps(job.specimen());
    command::run(&["hold", "--release", &image_name], &notes, || {}).expect_success("hold --release");
    assert!(held(job.specimen()).is_empty());
    let thawed = job.specimen().thaw();
    thawed.expect_success("thaw");
    says(&thawed.said, &["was not held off all the time", "finds it reset"]);
    assert!(talk.is_reset());
}

#[test]
fn an_image_makes_no_connection_that_was_not_held_off() {
    let _network = Network::new();
    let (mut talk, mut job) = Talk::start("127.0.0.1", User::Ordinary);
    talk.exchange(1000);
    sleeps(job.specimen());
    let (image, kept) = (job.specimen().image(), job.specimen().image().with_file_name("kept.dormouse"));
    fs::rename(&image, &kept).unwrap_or_else(|error| panic!("{error}"));
    let mut record = group(&kept);
    let (mut found, to) = (false, talk.own().port());
    each(&mut record, &mut |value| {
        if let Some(to_address) = field(value, "Kept").and_then(|kept| field(kept, "to")) {
            found |= set(to_address, "port", (to ^ 1).into());
        }
    });
    assert!(found, "nothing is there to be forged");
    forged(&kept, &record, &image);
    std::os::unix::fs::chown(&image, Some(ORDINARY), Some(ORDINARY)).unwrap_or_else(|error| panic!("{error}"));
    let refused = command::run(&["hold", &image.to_string_lossy()], &image.with_file_name(""), || {});
    assert!(!refused.status.success());
    says(&refused.said, &["others can have written into it"]);
    let thawed = job.specimen().thaw();
    thawed.expect_success("thaw");
    says(&thawed.said, &["was not held off all the time"]);
    let told = until(PATIENCE, || job.specimen().errors().contains("ConnectionResetError").then_some(()));
    assert!(told.is_some(), "{}", job.specimen().errors());
}
