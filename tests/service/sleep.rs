//! A user's groups and images, through the service from end to end.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use dormouse_wire::dbus::{Folder, Sleeping};
use dormouse_wire::{Checked, Frozen, Listed, Thawed, Verdict};
use harness::command;
use harness::pids::{Squatter, outside};
use harness::specimen::{Answer, without_inheritance};
use harness::wait::{PATIENCE, until};
use harness::{Program, Specimen, User};
use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;

use crate::ZOO;
use crate::client::Call;
use crate::machine::{ANNA, BEN, Machine, OWN, done};
use crate::security::refused;

pub fn of<T: DeserializeOwned>(value: serde_json::Value) -> T {
    done(serde_json::from_value(value))
}

pub fn started(name: &'static str, user: User) -> Specimen {
    let mut specimen = Specimen::start(Path::new(ZOO), &Program::named(name), user);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    specimen
}

pub fn images(machine: &Machine, user: u32) -> Vec<Sleeping> {
    of(machine.told(user, &Call::Images))
}

/// Whoever wakes an image holds a lock on it until its group runs.
#[test]
fn what_is_being_woken_is_not_deleted() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("regular_file", User::Ordinary);
    let image = asleep(&machine, &mut specimen);
    let path = machine.images(ANNA).join(&image);
    let thaw = done(Flock::lock(done(fs::File::open(&path)), FlockArg::LockExclusive).map_err(|(_, errno)| errno));
    let told = machine.ask(ANNA, &Call::Delete(image.clone()));
    assert!(told.as_ref().is_err_and(|told| told.contains("is being woken")), "{told:?}");
    assert!(path.exists());
    drop(thaw);
    awake(&machine, &mut specimen, &image);
    machine.told(ANNA, &Call::Delete(image));
    assert!(!path.exists());
}

/// Waits until nobody of it is there.
pub fn gone(specimen: &mut Specimen) {
    let gone = until(PATIENCE, || specimen.members().is_empty().then_some(()));
    assert!(gone.is_some(), "{:?} run on", specimen.members());
}

/// Freezes it as Anna; the name of the image.
pub fn asleep(machine: &Machine, specimen: &mut Specimen) -> String {
    let job = machine.told(ANNA, &Call::Freeze(specimen.pid().to_string(), false));
    assert_eq!(job["state"], "done", "{job}");
    let frozen: Frozen = of(job["result"].clone());
    gone(specimen);
    frozen.image.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

pub fn awake(machine: &Machine, specimen: &mut Specimen, image: &str) {
    let job = machine.told(ANNA, &Call::Thaw(image.to_owned()));
    assert_eq!(job["state"], "done", "{job}");
    let thawed: Thawed = of(job["result"].clone());
    assert!(thawed.processes.iter().any(|process| process.pid.0 == specimen.pid()), "{thawed:?}");
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

#[test]
fn a_group_sleeps_and_wakes_for_its_user() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("regular_file", User::Ordinary);
    let pid = specimen.pid().to_string();

    let list: Vec<Listed> = of(machine.told(ANNA, &Call::List(false)));
    let listed = list.iter().find(|group| group.members.iter().any(|member| member.pid.0 == specimen.pid()));
    let listed = listed.unwrap_or_else(|| panic!("it is not listed: {list:?}"));
    assert_eq!(listed.uid, Some(ANNA));
    assert_eq!(of::<Verdict>(machine.told(ANNA, &Call::Verdict(pid.clone()))), Verdict::Freezable);
    let checked: Checked = of(machine.told(ANNA, &Call::Check(listed.id.clone())));
    assert!(checked.processes.iter().any(|process| process.pid.0 == specimen.pid()), "{checked:?}");
    let folder: Folder = of(machine.told(ANNA, &Call::Folder));
    assert_eq!(folder.path, machine.images(ANNA));
    assert!(folder.free.is_some_and(|free| free.0 > 0));
    assert!(images(&machine, ANNA).is_empty());

    let image = asleep(&machine, &mut specimen);
    let found = done(fs::metadata(machine.images(ANNA).join(&image)));
    assert_eq!((found.uid(), found.gid(), found.permissions().mode() & 0o777), (ANNA, ANNA, 0o600));
    let found = done(fs::metadata(machine.images(ANNA)));
    assert_eq!((found.uid(), found.permissions().mode() & 0o777), (ANNA, 0o700));
    let sleeping = images(&machine, ANNA);
    assert_eq!(sleeping.len(), 1, "{sleeping:?}");
    assert_eq!((sleeping[0].id.as_str(), sleeping[0].name.as_str()), (image.as_str(), listed.name.as_str()));
    assert!(!sleeping[0].awake && sleeping[0].damage.is_none(), "{sleeping:?}");
    assert_eq!(machine.told(ANNA, &Call::Inspect(image.clone()))["label"]["name"], listed.name.as_str());
    assert!(images(&machine, BEN).is_empty());
    let nothing = || machine.told(ANNA, &Call::Preflight(image.clone())) == serde_json::json!([]);
    // What has ended may not have been reaped yet.
    assert!(until(PATIENCE, || nothing().then_some(())).is_some(), "{}", machine.told(ANNA, &Call::Preflight(image)));

    awake(&machine, &mut specimen, &image);
    assert!(machine.images(ANNA).join(&image).exists(), "a thaw leaves the image");
    machine.told(ANNA, &Call::Delete(image.clone()));
    assert!(images(&machine, ANNA).is_empty());
    let asked = machine.asked.lock().unwrap_or_else(|error| panic!("{error}")).clone();
    assert_eq!(asked.first(), Some(&(OWN[0].to_owned(), listed.name.clone())), "{asked:?}");
}

/// Two of it would work on the same files.
#[test]
fn what_runs_is_not_woken_a_second_time() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("regular_file", User::Ordinary);
    let image = asleep(&machine, &mut specimen);
    let jobs = std::thread::scope(|scope| {
        let thaws = [(); 3].map(|()| scope.spawn(|| machine.told(ANNA, &Call::Thaw(image.clone()))));
        thaws.map(|thaw| thaw.join().unwrap_or_else(|_| panic!("it is not asked")))
    });
    let went = jobs.iter().filter(|job| job["state"] == "done").count();
    assert_eq!(went, 1, "{jobs:?}");
    let refused = |job: &serde_json::Value| job["result"].to_string().contains("runs already");
    assert!(jobs.iter().all(|job| job["state"] == "done" || refused(job)), "{jobs:?}");
    let again = machine.told(ANNA, &Call::Thaw(image.clone()));
    assert!(again["state"] == "failed" && refused(&again), "{again}");
    assert_eq!(specimen.members().len(), 1);
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
    // Once it has ended, whoever wants it wakes it again.
    let again = machine.told(ANNA, &Call::Preflight(image));
    assert!(!again.to_string().contains("runs already"), "{again}");
}

/// Somebody else has its pid: it comes back in a pid namespace of its own, is known to run, and sleeps and wakes again.
#[test]
fn a_group_whose_pid_is_taken_wakes_all_the_same() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("regular_file", User::Ordinary);
    let (pid, folder) = (specimen.pid(), specimen.folder());
    let image = asleep(&machine, &mut specimen);
    let squatter = Squatter::at(pid);
    let told = machine.told(ANNA, &Call::Preflight(image.clone())).to_string();
    assert!(told.contains("a pid namespace of its own") && !told.contains("\"blocks\""), "{told}");
    assert!(images(&machine, ANNA).iter().all(|image| !image.awake));
    let job = machine.told(ANNA, &Call::Thaw(image.clone()));
    assert_eq!(job["state"], "done", "{job}");
    let thawed: Thawed = of(job["result"].clone());
    assert_eq!(thawed.losses.len(), 1, "{thawed:?}");
    let here = outside(pid, &folder).unwrap_or_else(|| panic!("nobody is {pid} inside: {thawed:?}"));
    assert!(images(&machine, ANNA).iter().all(|image| image.awake), "it is not known to run");
    done(fs::remove_file(machine.images(ANNA).join(&image)));

    let verdict: Verdict = of(machine.told(ANNA, &Call::Verdict(here.to_string())));
    assert_eq!(verdict, Verdict::Freezable);
    refused(&machine, BEN, &Call::Freeze(here.to_string(), true), "io.github.dormouse.Dormouse1.Error.NotAuthorized");
    let job = machine.told(ANNA, &Call::Freeze(here.to_string(), false));
    assert_eq!(job["state"], "done", "{job}");
    let frozen: Frozen = of(job["result"].clone());
    assert!(until(PATIENCE, || outside(pid, &folder).is_none().then_some(())).is_some(), "it runs on");
    drop(squatter);
    let image = frozen.image.file_name().unwrap_or_default().to_string_lossy().into_owned();
    awake(&machine, &mut specimen, &image);
}

#[test]
fn an_image_goes_out_and_comes_in_whole() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("regular_file", User::Ordinary);
    let image = asleep(&machine, &mut specimen);
    let copy = machine.home(ANNA).join("copy of it.dormouse");
    let shown = copy.display().to_string();
    let job = machine.told(ANNA, &Call::Export(image.clone(), shown.clone()));
    assert_eq!(job["state"], "done", "{job}");
    assert_eq!(done(fs::read(&copy)), done(fs::read(machine.images(ANNA).join(&image))));
    machine.told(ANNA, &Call::Delete(image));

    let job = machine.told(ANNA, &Call::Import("copy of it.dormouse".to_owned(), shown.clone()));
    assert_eq!(job["state"], "done", "{job}");
    let sleeping: Sleeping = of(job["result"].clone());
    assert_eq!(sleeping.id, "copy_of_it.dormouse");
    // The second time under another name, for nothing is replaced.
    let job = machine.told(ANNA, &Call::Import("copy of it.dormouse".to_owned(), shown.clone()));
    assert_eq!(job["result"]["id"], "copy_of_it-2.dormouse", "{job}");

    // A byte in the middle is another one.
    let mut bytes = done(fs::read(&copy));
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    done(fs::write(&copy, bytes));
    let job = machine.told(ANNA, &Call::Import("damaged".to_owned(), shown));
    assert_eq!(job["state"], "failed", "{job}");
    let entries = done(fs::read_dir(machine.images(ANNA))).flatten().map(|entry| entry.file_name());
    let mut names: Vec<_> = entries.filter(|name| name != "kept" && name != "thaws.lock").collect();
    names.sort();
    assert_eq!(names, ["copy_of_it-2.dormouse", "copy_of_it.dormouse"], "no part of a refused import stays");

    awake(&machine, &mut specimen, &sleeping.id);
}

#[test]
fn a_bundle_comes_in_with_what_is_in_it() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("regular_file", User::Ordinary);
    let image = asleep(&machine, &mut specimen);
    let bundle = machine.home(ANNA).join("it.dormouse-bundle");
    let mut export = Command::new(command::path());
    export.arg("export").arg(machine.images(ANNA).join(&image)).arg("-o").arg(&bundle);
    assert!(done(without_inheritance(&mut export).status()).success());
    done(chown(&bundle, Some(ANNA), Some(ANNA)));
    machine.told(ANNA, &Call::Delete(image.clone()));
    let kept = || fs::read_dir(machine.images(ANNA).join("kept/objects")).map_or(0, Iterator::count);
    assert_eq!(kept(), 0);

    let shown = bundle.display().to_string();
    let job = machine.told(ANNA, &Call::Import("a name of its own".to_owned(), shown.clone()));
    assert_eq!(job["state"], "done", "{job}");
    let sleeping: Sleeping = of(job["result"].clone());
    assert_eq!(sleeping.id, image);
    assert!(kept() > 0, "its programs did not come along");
    // The second time it is there already.
    let job = machine.told(ANNA, &Call::Import("a name of its own".to_owned(), shown.clone()));
    assert_eq!(job["result"]["id"], *image, "{job}");
    assert_eq!(images(&machine, ANNA).len(), 1);
    done(done(fs::File::options().write(true).open(&bundle)).set_len(9000));
    let job = machine.told(ANNA, &Call::Import("cut".to_owned(), shown));
    assert_eq!(job["state"], "failed", "{job}");
    awake(&machine, &mut specimen, &sleeping.id);
}

#[test]
fn a_group_is_paused_and_goes_on() {
    let machine = Machine::start(600, Some(OWN));
    let specimen = started("regular_file", User::Ordinary);
    let pid = specimen.pid().to_string();
    let paused = || {
        let list: Vec<Listed> = of(machine.told(ANNA, &Call::List(false)));
        let group = list.into_iter().find(|group| group.members.iter().any(|member| member.pid.0 == specimen.pid()));
        group.unwrap_or_else(|| panic!("it is not listed")).paused
    };
    assert!(!paused());
    // There is no /run/user of hers here, where it would be written down who is paused.
    let runtime = format!("/run/user/{ANNA}");
    let made = !Path::new(&runtime).exists();
    if made {
        done(fs::create_dir_all(&runtime));
        done(chown(&runtime, Some(ANNA), Some(ANNA)));
    }
    machine.told(ANNA, &Call::Pause(pid.clone()));
    assert!(paused());
    machine.told(ANNA, &Call::Resume(pid));
    assert!(!paused());
}

/// What root has put into a sandbox sleeps and wakes for root, and for nobody else.
#[test]
fn a_sandbox_sleeps_and_wakes_for_root() {
    let machine = Machine::start(600, Some(OWN));
    let folder = done(tempfile::tempdir());
    let place = folder.path().display();
    let script = format!(
        "mount -t tmpfs tmpfs /mnt && echo kept > /mnt/file && cd {place} && echo > {place}/ready && exec sleep 1000"
    );
    let mut sandbox = Command::new("setsid");
    sandbox.args(["unshare", "-mpu", "--fork", "--mount-proc", "sh", "-c", &script]).stdin(std::process::Stdio::null());
    sandbox.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut sandbox = done(without_inheritance(&mut sandbox).spawn());
    assert!(until(PATIENCE, || folder.path().join("ready").exists().then_some(())).is_some());
    let find = || until(PATIENCE, || outside(1, folder.path())).unwrap_or_else(|| panic!("the sandbox is not there"));
    let pid = find().to_string();

    refused(&machine, ANNA, &Call::Freeze(pid.clone(), true), "io.github.dormouse.Dormouse1.Error.NotAuthorized");
    assert_eq!(of::<Verdict>(machine.told(0, &Call::Verdict(pid.clone()))), Verdict::Freezable);
    let job = machine.told(0, &Call::Freeze(pid, false));
    assert_eq!(job["state"], "done", "{job}");
    let frozen: Frozen = of(job["result"].clone());
    assert!(frozen.image.is_file(), "{frozen:?}");
    done(sandbox.wait());
    assert!(until(PATIENCE, || outside(1, folder.path()).is_none().then_some(())).is_some(), "it runs on");

    let image = frozen.image.file_name().unwrap_or_default().to_string_lossy().into_owned();
    assert_eq!(machine.told(0, &Call::Preflight(image.clone())), serde_json::json!([]));
    let job = machine.told(0, &Call::Thaw(image.clone()));
    machine.told(0, &Call::Delete(image));
    assert_eq!(job["state"], "done", "{job}");
    let init = find();
    assert_eq!(done(fs::read_to_string(format!("/proc/{init}/root/mnt/file"))), "kept\n");
    done(nix::sys::signal::kill(nix::unistd::Pid::from_raw(init), nix::sys::signal::Signal::SIGKILL));
}
