//! Nobody gains anything through the service that he does not have.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;
use std::process::Command;

use dormouse_wire::{Listed, Pid, Verdict};
use harness::specimen::Answer;
use harness::{Specimen, User};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::client::Call;
use crate::machine::{ANNA, BEN, Machine, OWN, Running, done};
use crate::sleep::{asleep, awake, gone, images, of, started};

const NOT_AUTHORIZED: &str = "io.github.dormouse.Dormouse1.Error.NotAuthorized";
const NOT_FOUND: &str = "io.github.dormouse.Dormouse1.Error.NotFound";
const ACCESS_DENIED: &str = "org.freedesktop.DBus.Error.AccessDenied";

pub fn refused(machine: &Machine, user: u32, call: &Call, name: &str) {
    match machine.ask(user, call) {
        Err(error) if error.starts_with(name) => {}
        other => panic!("{call:?} of {user} was not refused as {name}: {other:?}"),
    }
}

/// A job that must fail, with these words.
pub fn fails(machine: &Machine, user: u32, call: &Call, words: &str) {
    let job = machine.told(user, call);
    assert_eq!(job["state"], "failed", "{call:?}: {job}");
    assert!(job.to_string().contains(words), "{call:?} does not say `{words}`: {job}");
}

#[test]
fn nobody_reaches_anothers_group_image_or_job() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("regular_file", User::Ordinary);
    let pid = specimen.pid().to_string();
    let calls = [Call::Verdict, Call::Check, Call::Pause, Call::Resume].map(|call| call(pid.clone()));
    for call in calls.iter().chain(&[Call::Freeze(pid.clone(), true)]) {
        refused(&machine, BEN, call, NOT_AUTHORIZED);
    }
    let list: Vec<Listed> = of(machine.told(BEN, &Call::List(false)));
    assert!(list.iter().all(|group| group.members.iter().all(|member| member.pid != Pid(specimen.pid()))), "{list:?}");
    refused(&machine, BEN, &Call::List(true), NOT_AUTHORIZED);
    let asked = machine.asked.lock().unwrap_or_else(|error| panic!("{error}")).clone();
    assert_eq!(asked.last().map(|(action, _)| action.as_str()), Some("io.github.dormouse.Dormouse1.see-others"));

    let image = asleep(&machine, &mut specimen);
    let jobs = machine.told(ANNA, &Call::Jobs);
    let job = jobs[0].as_str().unwrap_or_else(|| panic!("there is no job: {jobs}")).to_owned();
    assert_eq!(machine.told(BEN, &Call::Jobs), serde_json::json!([]));
    refused(&machine, BEN, &Call::CancelJob(job.clone()), ACCESS_DENIED);
    refused(&machine, BEN, &Call::JobState(job.clone()), ACCESS_DENIED);
    assert_eq!(machine.told(ANNA, &Call::JobState(job)), "done");

    // Her image is in no folder of his, however it is called.
    let long = machine.images(ANNA).join(&image).display().to_string();
    for name in [image.clone(), long, format!("../../../../anna/.local/share/dormouse/{image}")] {
        for call in [Call::Inspect, Call::Delete].map(|call| call(name.clone())) {
            let answer = machine.ask(BEN, &call);
            assert!(answer.is_err(), "{call:?}: {answer:?}");
        }
        let found = machine.ask(BEN, &Call::Preflight(name.clone()));
        assert!(found.clone().map_or(true, |found| found.to_string().contains("No such file")), "{found:?}");
        fails(&machine, BEN, &Call::Thaw(name.clone()), "");
        let out = machine.home(BEN).join("out").display().to_string();
        fails(&machine, BEN, &Call::Export(name, out.clone()), "");
        assert!(fs::read(&out).is_ok_and(|bytes| bytes.is_empty()), "nothing of it came out");
        done(fs::remove_file(out));
    }
    refused(&machine, ANNA, &Call::Verdict("session-no".to_owned()), NOT_FOUND);
    awake(&machine, &mut specimen, &image);
}

/// An administrator may: then it is done for the owner, and the image is the owner's.
#[test]
fn an_administrator_freezes_for_the_owner() {
    let machine = Machine::start(600, Some(&["io.github.dormouse.Dormouse1.others"]));
    let mut specimen = started("regular_file", User::Ordinary);
    let job = machine.told(BEN, &Call::Freeze(specimen.pid().to_string(), false));
    assert_eq!(job["state"], "done", "{job}");
    gone(&mut specimen);
    assert!(images(&machine, BEN).is_empty());
    let image = images(&machine, ANNA).remove(0).id;
    let asked = machine.asked.lock().unwrap_or_else(|error| panic!("{error}")).clone();
    assert_eq!(asked.last().map(|(action, _)| action.as_str()), Some("io.github.dormouse.Dormouse1.others"));
    let job = machine.told(0, &Call::Thaw(machine.images(ANNA).join(&image).display().to_string()));
    assert_eq!(job["state"], "failed", "{job}");
    refused(&machine, ANNA, &Call::Thaw(image), NOT_AUTHORIZED);
}

#[test]
fn what_is_more_than_the_users_own_stays_awake() {
    let machine = Machine::start(600, Some(OWN));
    // root's, in a session that Anna can name.
    let mut root = started("regular_file", User::Root);
    refused(&machine, ANNA, &Call::Freeze(root.pid().to_string(), true), NOT_AUTHORIZED);
    assert_eq!(root.go(), Answer::Ok);

    // Hers, but it keeps its memory to itself.
    let mut secret = started("dumpable", User::Ordinary);
    let is_hidden = |pid: &i32| {
        fs::metadata(format!("/proc/{pid}/status")).is_ok_and(|found| std::os::unix::fs::MetadataExt::uid(&found) == 0)
    };
    let hidden = secret.members().iter().any(is_hidden);
    assert!(hidden, "the program of the zoo is dumpable");
    fails(&machine, ANNA, &Call::Freeze(secret.pid().to_string(), true), "PR_SET_DUMPABLE");
    let verdict: Verdict = of(machine.told(ANNA, &Call::Verdict(secret.pid().to_string())));
    assert!(matches!(verdict, Verdict::Blocked(_)), "{verdict:?}");
    assert!(images(&machine, ANNA).is_empty());
    assert_eq!(secret.go(), Answer::Ok);
}

/// It could not be woken for her: her own processes cannot go there.
#[test]
fn a_group_where_its_user_cannot_go_stays_awake() {
    let machine = Machine::start(600, Some(OWN));
    let folder = machine.home(ANNA).parent().map(|home| home.join("of root")).unwrap_or_default();
    done(fs::create_dir(&folder));
    done(fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)));
    let mut command = Command::new("setsid");
    let anna = ANNA.to_string();
    command.args(["setpriv", "--reuid", &anna, "--regid", &anna, "--clear-groups", "sleep", "1000"]);
    let asleep = Running::start(command.current_dir(&folder));
    let pid = asleep.0.id().to_string();
    let hers = || fs::read_to_string(format!("/proc/{pid}/comm")).ok().filter(|comm| comm.trim() == "sleep");
    assert!(harness::wait::until(harness::wait::PATIENCE, hers).is_some(), "it does not start");
    fails(&machine, ANNA, &Call::Freeze(pid.clone(), true), "where its user cannot go");
    assert!(images(&machine, ANNA).is_empty());
}

/// A group of hers that has a process of root's in it, as `sudo` makes them: it is not touched.
#[test]
fn a_group_with_a_process_of_root_in_it_stays_awake() {
    let machine = Machine::start(600, Some(OWN));
    // The shell is hers; its child is a copy of a program that is root's to run as root.
    let folder = machine.home(ANNA).join("bin");
    done(fs::create_dir(&folder));
    let program = folder.join("sleep");
    done(fs::copy("/bin/sleep", &program));
    done(fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o4755)));
    let mut command = Command::new("setsid");
    command.args(["sh", "-c"]).arg(format!("{} 1000; :", program.display()));
    std::os::unix::process::CommandExt::uid(&mut command, ANNA);
    std::os::unix::process::CommandExt::gid(&mut command, ANNA);
    let shell = Running::start(&mut command);
    let pid = shell.0.id();
    let child = harness::wait::until(harness::wait::PATIENCE, || {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        let child = children.trim().to_owned();
        fs::read_to_string(format!("/proc/{child}/comm")).ok().filter(|comm| comm.trim() == "sleep").map(|_| child)
    });
    let child = child.unwrap_or_else(|| panic!("the shell has no child"));
    fails(&machine, ANNA, &Call::Freeze(pid.to_string(), true), "it has the rights of root");
    let state = done(fs::read_to_string(format!("/proc/{child}/stat")));
    assert!(state.contains(") S "), "{state}");
    done(nix::sys::signal::kill(nix::unistd::Pid::from_raw(done(child.parse())), nix::sys::signal::Signal::SIGKILL));
}

#[test]
fn an_odd_folder_of_images_leads_nowhere() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("regular_file", User::Root);
    // An image of root's that Anna can read, and may not thaw.
    specimen.freeze().expect_success("freeze");
    let of_root = specimen.image();
    done(fs::set_permissions(&of_root, std::os::unix::fs::PermissionsExt::from_mode(0o644)));
    let folder = machine.images(ANNA);
    done(fs::create_dir_all(&folder));
    for path in [machine.home(ANNA).join(".local"), machine.home(ANNA).join(".local/share"), folder.clone()] {
        done(chown(path, Some(ANNA), Some(ANNA)));
    }
    done(symlink(&of_root, folder.join("link.dormouse")));
    done(symlink("/etc/shadow", folder.join("shadow.dormouse")));
    done(mkfifo(&folder.join("fifo.dormouse"), Mode::S_IRWXU));
    done(fs::create_dir(folder.join("folder.dormouse")));
    done(fs::write(folder.join("text.dormouse"), "no image"));
    let list = images(&machine, ANNA);
    let damaged: Vec<&str> =
        list.iter().filter(|image| image.damage.is_some()).map(|image| image.id.as_str()).collect();
    assert_eq!(damaged.len(), 4, "{list:?}");
    fails(&machine, ANNA, &Call::Thaw("link.dormouse".to_owned()), "wanted by user 1000");
    fails(&machine, ANNA, &Call::Thaw("shadow.dormouse".to_owned()), "Permission denied");
    let out = machine.home(ANNA).join("out").display().to_string();
    fails(&machine, ANNA, &Call::Export("shadow.dormouse".to_owned(), out), "Permission denied");
    // The folder itself leads elsewhere: to where she may not write.
    done(fs::rename(&folder, folder.with_file_name("other")));
    done(symlink("/var", &folder));
    let mut own = started("regular_file", User::Ordinary);
    fails(&machine, ANNA, &Call::Freeze(own.pid().to_string(), false), "folder of images");
    assert_eq!(own.go(), Answer::Ok);
    comes_back(&mut specimen);
}

fn comes_back(specimen: &mut Specimen) {
    done(fs::set_permissions(specimen.image(), std::os::unix::fs::PermissionsExt::from_mode(0o600)));
    specimen.thaw().expect_success("thaw");
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

#[test]
fn without_polkit_only_root_is_let_in() {
    let machine = Machine::start(600, None);
    let specimen = started("regular_file", User::Ordinary);
    let pid = specimen.pid().to_string();
    refused(&machine, ANNA, &Call::Freeze(pid.clone(), false), NOT_AUTHORIZED);
    refused(&machine, ANNA, &Call::Pause(pid.clone()), NOT_AUTHORIZED);
    let verdict: Verdict = of(machine.told(ANNA, &Call::Verdict(pid.clone())));
    assert_eq!(verdict, Verdict::Freezable);
    let verdict: Verdict = of(machine.told(0, &Call::Verdict(pid)));
    assert_eq!(verdict, Verdict::Freezable);
    assert!(Path::new(&format!("/proc/{}", specimen.pid())).exists());
}

#[test]
fn a_flood_of_one_user_keeps_nobody_else_waiting() {
    let machine = Machine::start(600, Some(OWN));
    let (flooded, list) = std::thread::scope(|scope| {
        let flood = scope.spawn(|| machine.told(BEN, &Call::Flood(2000)));
        let list: Vec<Listed> = of(machine.told(ANNA, &Call::List(false)));
        (flood.join().unwrap_or_else(|_| panic!("the flood has failed")), list)
    });
    assert!(!list.is_empty());
    let refused: Vec<String> = of(flooded["refused"].clone());
    assert!(flooded["answered"].as_u64().is_some_and(|answered| answered > 0), "{flooded}");
    // The bus itself has a limit, too.
    let busy = ["io.github.dormouse.Dormouse1.Error.Busy", "org.freedesktop.DBus.Error.LimitsExceeded"];
    assert!(refused.iter().all(|name| busy.contains(&name.as_str())), "{flooded}");
    // It has survived that.
    machine.told(BEN, &Call::List(false));
}
