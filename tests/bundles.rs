//! `dormouse export`: an image with all that it needs goes to a machine that has neither its programs nor its files, and wakes there.
#![allow(missing_docs, clippy::panic)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::command::{self, Outcome};
use harness::{Job, User};

/// Holds a library and its own program from one folder, and a working file from another.
const PROGRAM: &str = r#"
import ctypes, os, sys, time

home, stage = sys.argv[1], sys.argv[2]
library = ctypes.CDLL(home + "/library.so")
library.cos.restype, library.cos.argtypes = ctypes.c_double, [ctypes.c_double]
log = open(stage + "/log", "r+b", buffering=0)
assert log.read(4) == b"one "
print("ready", flush=True)
while not os.path.exists(stage + "/go"):
    time.sleep(0.02)
maps = [line.split(None, 5)[5] for line in open("/proc/self/maps").read().splitlines() if home in line]
print("maps", *sorted(set(path[len(home):] for path in maps)), flush=True)
print("runs", os.readlink("/proc/self/exe")[len(home):], flush=True)
print("cos", library.cos(0.0), flush=True)
print("log", log.read().decode(), flush=True)
log.write(b"!")
print("where", os.readlink("/proc/self/fd/%d" % log.fileno()), flush=True)
"#;

const RIGHT: &str = "ready\nmaps /library.so /program\nruns /program\ncos 1.0\nlog two three\n";

fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

fn some_library() -> PathBuf {
    let maps = done(fs::read_to_string("/proc/self/maps"));
    let place = maps.split_whitespace().find(|word| word.ends_with("/libc.so.6"));
    Path::new(place.unwrap_or_else(|| panic!("no libc:\n{maps}"))).with_file_name("libm.so.6")
}

struct Scene {
    job: Job,
    group: BTreeSet<i32>,
    home: PathBuf,
    bundle: PathBuf,
}

impl Scene {
    /// Frozen, with nothing kept, or copies of programs; no bundle yet.
    fn asleep(keep: &str) -> Self {
        let mut job = Job::start("python3", User::Root, |folder| {
            let home = folder.join("home");
            done(fs::create_dir(&home));
            done(fs::copy(done(fs::canonicalize("/usr/bin/python3")), home.join("program")));
            let library = [done(fs::read(some_library())), folder.to_string_lossy().into_owned().into_bytes()].concat();
            done(fs::write(home.join("library.so"), library));
            done(fs::write(folder.join("log"), "one two three"));
            done(fs::write(folder.join("script.py"), PROGRAM));
            let mut command = Command::new("env");
            command
                .arg("PYTHONHOME=/usr")
                .arg(home.join("program"))
                .arg(folder.join("script.py"))
                .arg(home)
                .arg(folder);
            command
        });
        job.wait_for("ready");
        let group = job.specimen().members();
        job.specimen().freeze_with(&["--keep", keep]).expect_success("freeze");
        job.specimen().assert_asleep(&group);
        let (home, bundle) =
            (job.specimen().folder().join("home"), job.specimen().folder().join("all.dormouse-bundle"));
        Self { job, group, home, bundle }
    }

    fn run(&mut self, arguments: &[&str]) -> Outcome {
        let folder = self.job.specimen().folder();
        command::run(arguments, &folder, || harness::group::reap(&BTreeSet::new()))
    }

    fn export(&mut self, more: &[&str]) -> Outcome {
        let (image, bundle) = (self.job.specimen().image(), self.bundle.clone());
        self.run(&[&["export", &image.to_string_lossy(), "-o", &bundle.to_string_lossy()], more].concat())
    }

    /// As on another machine: neither the image nor anything that was kept is here.
    fn arrive_elsewhere(&mut self) {
        let image = self.job.specimen().image();
        done(fs::remove_file(image));
        self.forget_library();
        done(fs::remove_dir_all(&self.home));
    }

    /// The copy of the library that is kept is not there any more.
    fn forget_library(&mut self) {
        let library = done(fs::read(self.home.join("library.so")));
        let objects = fs::read_dir("/var/lib/dormouse/kept/objects").into_iter().flatten().flatten();
        for object in objects.map(|entry| entry.path()) {
            let is_it = object.metadata().is_ok_and(|found| found.len() == library.len() as u64);
            if is_it && fs::read(&object).is_ok_and(|found| found == library) {
                done(fs::remove_file(object));
            }
        }
    }

    fn thaw(&mut self, more: &[&str]) -> Outcome {
        let bundle = self.bundle.clone();
        self.run(&[&["thaw", &bundle.to_string_lossy()], more].concat())
    }

    fn end(&mut self) -> String {
        self.job.make("go");
        std::mem::take(&mut self.bundle);
        let until = harness::wait::until(harness::wait::PATIENCE, || self.job.said().contains("where").then_some(()));
        assert!(until.is_some(), "{}", self.job.said());
        self.job.said()
    }
}

fn words(outcome: &Outcome) -> String {
    outcome.said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Images of this name in the folder of images are removed, with what was kept for them.
fn forget(name: &str) {
    for entry in fs::read_dir("/var/lib/dormouse").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(name) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn stem(scene: &mut Scene) -> String {
    scene.job.specimen().image().file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The images of all tests have the same name: one test at a time has it in the folder of images.
static FOLDER: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[test]
fn a_bundle_wakes_where_neither_its_programs_nor_its_files_are() {
    let _folder = FOLDER.lock();
    for keep in ["programs", "none"] {
        let mut scene = Scene::asleep(keep);
        let stem = stem(&mut scene);
        let exported = scene.export(&["--working-files"]);
        exported.expect_success("export");
        assert!(!words(&exported).contains("not in it"), "{}", exported.said);
        scene.arrive_elsewhere();
        let log = scene.job.specimen().folder().join("log");
        done(fs::remove_file(&log));
        let thawed = scene.thaw(&[]);
        thawed.expect_success("thaw");
        let said = words(&thawed);
        assert!(
            said.contains("copies that were kept are in use") && said.contains("it has the copy of the freeze"),
            "{said}"
        );
        let said = scene.end();
        assert!(said.starts_with(RIGHT), "{said}");
        let place = said.lines().find_map(|line| line.strip_prefix("where ")).map(PathBuf::from).unwrap_or_default();
        assert!(place.starts_with("/var/lib/dormouse/files"), "{}", place.display());
        assert_eq!(done(fs::read_to_string(&place)), "one two three!");
        assert!(!scene.home.exists() && !log.exists(), "nothing of it comes into places that others see");
        done(fs::remove_file(place));
        forget(&stem);
    }
}

#[test]
fn nothing_that_is_there_is_written_over() {
    let _folder = FOLDER.lock();
    let mut scene = Scene::asleep("programs");
    let stem = stem(&mut scene);
    scene.export(&["--working-files"]).expect_success("export");
    let again = scene.export(&[]);
    assert!(!again.status.success() && words(&again).contains("exists"), "{}", again.said);
    let (library, program) = (scene.home.join("library.so"), scene.home.join("program"));
    done(fs::write(&library, "another"));
    done(fs::remove_file(&program));
    let log = scene.job.specimen().folder().join("log");
    done(fs::write(&log, "other words than those"));
    let group = scene.group.clone();
    let stopped = scene.thaw(&[]);
    assert!(!stopped.status.success() && words(&stopped).contains("--changed-files"), "{}", stopped.said);
    scene.job.specimen().assert_asleep(&group);
    let thawed = scene.thaw(&["--changed-files", "kept"]);
    thawed.expect_success("thaw");
    let said = scene.end();
    assert!(said.starts_with(RIGHT), "{said}");
    assert_eq!(done(fs::read_to_string(&library)), "another");
    assert_eq!(done(fs::read_to_string(&log)), "other words than those");
    assert!(!program.exists());
    forget(&stem);
}

#[test]
fn working_files_are_packed_on_request_only() {
    let mut scene = Scene::asleep("programs");
    let exported = scene.export(&[]);
    exported.expect_success("export");
    assert!(words(&exported).contains("not in it: --working-files"), "{}", exported.said);
    let listed = done(Command::new("tar").arg("-tvf").arg(&scene.bundle).output());
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.lines().next().is_some_and(|line| line.ends_with("dormouse-bundle.json")), "{listed}");
    assert!(listed.contains("objects/") && listed.contains("image.dormouse"), "{listed}");
    let manifest = done(Command::new("tar").arg("-xOf").arg(&scene.bundle).arg("dormouse-bundle.json").output());
    let manifest = String::from_utf8_lossy(&manifest.stdout).into_owned();
    assert!(manifest.contains("home/library.so") && !manifest.contains("/log\""), "{manifest}");
}

#[test]
fn what_has_changed_and_was_not_kept_cannot_be_packed() {
    let mut scene = Scene::asleep("none");
    done(fs::write(scene.home.join("library.so"), "another"));
    done(fs::remove_file(scene.home.join("program")));
    let refused = scene.export(&["--working-files"]);
    let said = words(&refused);
    assert!(!refused.status.success() && said.contains("home/library.so") && said.contains("home/program"), "{said}");
    assert!(said.contains("no copy of it was kept") && !scene.bundle.exists(), "{said}");
    let left = done(fs::read_dir(scene.job.specimen().folder())).flatten();
    assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().contains("partial")));
}

/// Cut, changed, or made by somebody who means ill: it is refused, and nothing comes onto the disk but in the private place.
#[test]
fn a_bundle_that_is_none_is_refused() {
    let mut scene = Scene::asleep("programs");
    scene.export(&[]).expect_success("export");
    let group = scene.group.clone();
    let whole = done(fs::read(&scene.bundle));
    let refused = |scene: &mut Scene, bytes: &[u8], why: &str| {
        done(fs::write(&scene.bundle, bytes));
        let outcome = scene.thaw(&[]);
        let said = words(&outcome);
        assert!(!outcome.status.success() && said.contains(why), "{why}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        scene.job.specimen().assert_asleep(&group);
    };
    for length in [600, 5000, whole.len() / 2, whole.len() - 20_000] {
        refused(&mut scene, &whole[..length], "The bundle cannot be used");
    }
    scene.forget_library();
    let mut changed = whole.clone();
    let end = done(fs::read(scene.home.join("library.so")));
    let end = &end[end.len() - 64..];
    let place = whole.windows(end.len()).position(|window| window == end);
    changed[place.unwrap_or_else(|| panic!("the library is not in it"))] ^= 1;
    refused(&mut scene, &changed, "The bundle cannot be used");
    // What is in it has names that lead elsewhere, links, and what it does not name.
    for (name, kind) in [
        ("../../../tmp/dormouse-evil", b'0'),
        ("objects/../../evil", b'0'),
        ("objects/x", b'2'),
        ("image.dormouse", b'1'),
    ] {
        refused(&mut scene, &with_entry(&whole, name, kind), "The bundle cannot be used");
    }
    assert!(!Path::new("/tmp/dormouse-evil").exists() && !Path::new("/var/lib/dormouse/evil").exists());
    refused(&mut scene, &whole[..100], "");
}

/// The bundle with one entry more, behind what is in it.
fn with_entry(whole: &[u8], name: &str, kind: u8) -> Vec<u8> {
    let end = whole.len() - 1024;
    let mut header = [0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(b"00000000000");
    header[148..156].copy_from_slice(b"        ");
    header[156] = kind;
    header[257..263].copy_from_slice(b"ustar ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    [&whole[..end], &header[..], &[0; 1024]].concat()
}

/// Whoever made a bundle is trusted no more than with an image of his own.
#[test]
fn a_bundle_of_a_user_holds_nothing_that_is_roots() {
    let mut scene = Scene::asleep("programs");
    scene.export(&[]).expect_success("export");
    let who = Some(harness::specimen::ORDINARY);
    done(std::os::unix::fs::chown(&scene.bundle, who, who));
    // Beside the image itself it would be told that another one has its id.
    let refused = scene.thaw(&[]);
    let said = words(&refused);
    assert!(!refused.status.success() && said.contains("another image has the same id"), "{said}");
    let image = scene.job.specimen().image();
    let aside = image.with_extension("aside");
    done(fs::rename(&image, &aside));
    let refused = scene.thaw(&[]);
    let said = words(&refused);
    assert!(!refused.status.success() && said.contains("belongs to user"), "{said}");
    done(fs::rename(&aside, &image));
    let group = scene.group.clone();
    scene.job.specimen().assert_asleep(&group);
}

/// Packed by root, what a user has made is what a user has made.
#[test]
fn root_packs_an_image_of_a_user_as_the_users() {
    let mut scene = Scene::asleep("programs");
    let who = Some(harness::specimen::ORDINARY);
    done(std::os::unix::fs::chown(scene.job.specimen().image(), who, who));
    let group = scene.group.clone();
    let exported = scene.export(&[]);
    exported.expect_success("export");
    let refused = scene.thaw(&[]);
    let said = words(&refused);
    assert!(!refused.status.success() && said.contains("belongs to user"), "{said}");
    scene.job.specimen().assert_asleep(&group);
}

#[test]
fn what_is_packed_is_what_was_kept() {
    let mut scene = Scene::asleep("programs");
    let library = scene.home.join("library.so");
    let old = done(fs::read(&library));
    done(done(File::create(&library)).write_all(b"another"));
    scene.export(&[]).expect_success("export");
    let mut bundle = Vec::new();
    done(done(File::open(&scene.bundle)).read_to_end(&mut bundle));
    let tail = &old[old.len() - 64..];
    assert!(bundle.windows(tail.len()).any(|window| window == tail), "the library is not in it");
}
