//! What a group has mapped changes while it sleeps: copies of its programs and libraries take their places, under the old names; of
//! working files a person chooses.
#![allow(missing_docs, clippy::panic)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use harness::command;
use harness::packaged::{
    RIGHT, awake, awake_in_sandbox, awake_with_mappings, forget, kept, put, some_library, upgrade,
};
use harness::wait::{PATIENCE, until};
use harness::{Job, User};

fn done<T>(result: std::io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// Frozen with these options into the usual place of the test.
fn freeze(job: &mut Job, options: &[&str]) -> BTreeSet<i32> {
    let group = job.specimen().members();
    job.specimen().freeze_with(options).expect_success("freeze");
    job.specimen().assert_asleep(&group);
    group
}

fn refused(job: &mut Job, group: &BTreeSet<i32>, options: &[&str], told: &[&str]) {
    let outcome = job.specimen().thaw_with(options);
    let said = outcome.words();
    assert!(!outcome.status.success(), "{options:?}: it was thawed");
    for word in told {
        assert!(said.contains(word), "{options:?}: the refusal does not say `{word}`:\n{}", outcome.said);
    }
    job.specimen().assert_asleep(group);
}

#[test]
fn a_package_that_is_upgraded_or_removed_meanwhile_does_not_matter() {
    for user in [User::Root, User::Ordinary] {
        let (mut job, home) = awake(user);
        let group = freeze(&mut job, &[]);
        let library = home.join("library.so");
        let other = upgrade(&home);
        let outcome = job.specimen().thaw_with(&[]);
        outcome.expect_success("thaw");
        let said = outcome.words();
        assert!(said.contains("2 programs and libraries have changed"), "{said}");
        assert!(said.contains("home/library.so") && said.contains("home/program"), "{said}");
        job.specimen().assert_awake(&group);
        // And once more, now that it runs from the copies.
        let image = job.specimen().image();
        done(fs::remove_file(&image));
        let group = freeze(&mut job, &[]);
        job.specimen().thaw_with(&[]).expect_success("thaw");
        job.specimen().assert_awake(&group);
        job.make("go");
        let log = home.join("log");
        assert_eq!(job.end(), format!("{RIGHT}log two three\nwhere {}\n", log.display()));
        assert_eq!(done(fs::read(&library)), other, "what is there stays");
        assert!(!home.join("program").exists());
    }
}

/// Maps the library, and starts another one that does once it has been upgraded; says in the end how large the one is that it has.
const TWO: &str = r#"
import ctypes, os, subprocess, sys, time

home, stage, name = sys.argv[1:]
library = ctypes.CDLL(home + "/library.so")
open(stage + "/is-" + name, "w").close()
def comes(what):
    while not os.path.exists(stage + "/" + what):
        time.sleep(0.02)
if name == "old":
    comes("upgraded")
    child = subprocess.Popen([sys.executable, __file__, home, stage, "new"])
comes("go")
if name == "old":
    child.wait()
place = next(line.split()[0] for line in open("/proc/self/maps") if line.rstrip().endswith("/home/library.so"))
print(name, os.stat("/proc/self/map_files/" + place).st_size, flush=True)
"#;

/// A group that runs from a copy starts programs that run from what has come in its place: one name, two files.
#[test]
fn programs_of_before_and_after_an_upgrade_sleep_together() {
    let content = done(fs::read(some_library()));
    let mut job = Job::start("python3", User::Root, |folder| {
        let home = folder.join("home");
        done(fs::create_dir(&home));
        done(fs::write(home.join("library.so"), &content));
        done(fs::write(folder.join("two.py"), TWO));
        let mut command = Command::new("python3");
        command.arg(folder.join("two.py")).arg(home).arg(folder).arg("old");
        command
    });
    let folder = job.specimen().folder();
    let is_there = |name: &str| {
        let there = until(PATIENCE, || folder.join(name).exists().then_some(()));
        assert!(there.is_some(), "{name} does not come");
    };
    is_there("is-old");
    let group = job.fall_asleep();
    put(&folder.join("home/library.so"), &[&content[..], b"newer"].concat());
    job.wake_up(&group);
    job.make("upgraded");
    is_there("is-new");
    for _ in 0..2 {
        let group = job.fall_asleep();
        job.wake_up(&group);
    }
    job.make("go");
    assert_eq!(job.end(), format!("new {}\nold {}\n", content.len() + 5, content.len()));
}

/// As the package of a sandbox is upgraded, which a flatpak is, while the shell that has started it waits outside.
#[test]
fn a_package_within_a_sandbox_does_not_matter_either() {
    let (mut job, home) = awake_in_sandbox();
    let group = job.fall_asleep();
    let library = home.join("library.so");
    let other = upgrade(&home);
    job.wake_up(&group);
    // And once more, now that it runs from the copies.
    let group = job.fall_asleep();
    job.wake_up(&group);
    job.make("go");
    assert_eq!(job.end(), format!("{RIGHT}log two three\nwhere /work/home/log\nit ends with 0\n"));
    assert_eq!(done(fs::read(&library)), other, "what is there stays");
    assert!(!home.join("program").exists());
}

/// A bundle takes along what is kept of it.
#[test]
fn a_package_within_a_sandbox_goes_to_another_machine() {
    let _alone = harness::alone::with_images_of_root();
    let (mut job, home) = awake_in_sandbox();
    let group = job.fall_asleep();
    let (folder, image) = (job.specimen().folder(), job.specimen().image());
    let bundle = folder.join("all.dormouse-bundle");
    let run = |arguments: &[&str]| command::run(arguments, &folder, || harness::group::reap(&BTreeSet::new()));
    run(&["export", &image.to_string_lossy(), "-o", &bundle.to_string_lossy()]).expect_success("export");
    done(fs::remove_file(&image));
    for name in ["library.so", "program"] {
        let path = home.join(name);
        let kept = kept(&done(fs::read(&path)));
        done(fs::remove_file(kept.unwrap_or_else(|| panic!("{name} is not kept"))));
        done(fs::remove_file(path));
    }
    done(fs::rename(&bundle, &image));
    job.wake_up(&group);
    job.make("go");
    assert_eq!(job.end(), format!("{RIGHT}log two three\nwhere /work/home/log\nit ends with 0\n"));
    assert!(!home.join("library.so").exists() && !home.join("program").exists(), "it comes into a private place");
    let stem = image.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    forget(&stem);
}

#[test]
fn what_is_the_same_as_before_is_used_from_where_it_is() {
    let (mut job, home) = awake(User::Ordinary);
    freeze(&mut job, &[]);
    put(&home.join("library.so"), &done(fs::read(home.join("library.so"))));
    let outcome = job.specimen().thaw_with(&[]);
    outcome.expect_success("thaw");
    assert!(!outcome.words().contains("copies"), "{}", outcome.said);
    job.make("go");
    assert!(job.end().starts_with(RIGHT));
}

#[test]
fn a_copy_that_was_changed_is_as_good_as_none() {
    let (mut job, home) = awake(User::Root);
    let library = home.join("library.so");
    let content = done(fs::read(&library));
    let group = freeze(&mut job, &[]);
    let object = kept(&content).unwrap_or_else(|| panic!("it is not kept"));
    let mut damaged = content.clone();
    damaged[0x4000] ^= 1;
    done(fs::remove_file(&object));
    done(fs::write(&object, damaged));
    put(&library, &content[..content.len() - 1]);
    refused(&mut job, &group, &[], &["shrunk", "home/library.so"]);
    done(fs::remove_file(&object));
    refused(&mut job, &group, &[], &["shrunk", "home/library.so"]);
    put(&library, &content);
    job.specimen().thaw_with(&[]).expect_success("thaw");
    job.make("go");
    assert!(job.end().starts_with(RIGHT));
}

/// Whoever owns a copy could change the program that is woken with it.
#[test]
fn what_a_user_keeps_beside_an_image_of_root_is_not_used() {
    let (mut job, home) = awake(User::Root);
    let library = home.join("library.so");
    let group = freeze(&mut job, &[]);
    let image = job.specimen().image();
    let object = kept(&done(fs::read(&library))).unwrap_or_else(|| panic!("it is not kept"));
    let (beside, who) = (image.with_file_name("kept"), Some(harness::specimen::ORDINARY));
    let name = object.file_name().unwrap_or_else(|| panic!("it has a name"));
    for folder in [beside.clone(), beside.join("objects"), beside.join("images")] {
        done(fs::create_dir(&folder));
        done(std::os::unix::fs::chown(&folder, who, who));
    }
    let place = beside.join("objects").join(name);
    done(fs::copy(&object, &place));
    done(std::os::unix::fs::chown(&place, who, who));
    done(fs::remove_file(&object));
    done(fs::remove_file(&library));
    refused(&mut job, &group, &[], &["cannot be found", "home/library.so"]);
}

/// The same size and the same date, as builds of some distributions have them all.
#[test]
fn another_build_with_the_same_date_is_another_file() {
    let (mut job, home) = awake(User::Root);
    let library = home.join("library.so");
    freeze(&mut job, &[]);
    let (mut other, before) = (done(fs::read(&library)), done(done(library.metadata()).modified()));
    let note = other.windows(12).position(|window| window == b"\x14\0\0\0\x03\0\0\0GNU\0");
    let note = note.unwrap_or_else(|| panic!("it has no build-id"));
    other[note + 12] ^= 1;
    other[0x4000..].fill(0);
    put(&library, &other);
    done(done(File::options().write(true).open(&library)).set_modified(before));
    let outcome = job.specimen().thaw_with(&[]);
    outcome.expect_success("thaw");
    assert!(outcome.words().contains("1 program or library has changed"), "{}", outcome.said);
    job.make("go");
    assert!(job.end().starts_with(RIGHT));
}

#[test]
fn nothing_is_kept_where_that_is_not_wanted() {
    let (mut job, home) = awake(User::Root);
    let library = home.join("library.so");
    let content = done(fs::read(&library));
    let group = freeze(&mut job, &["--keep", "none"]);
    assert_eq!(kept(&content), None);
    done(fs::remove_file(&library));
    refused(&mut job, &group, &[], &["cannot be found", "home/library.so"]);
}

#[test]
fn a_working_file_that_has_changed_is_used_as_a_person_chooses() {
    for user in [User::Root, User::Ordinary] {
        let (mut job, home) = awake(user);
        let log = home.join("log");
        let group = freeze(&mut job, &["--keep", "files"]);
        put(&log, b"new words and more");
        refused(&mut job, &group, &[], &["changed or replaced", "home/log", "--changed-files"]);
        let new = job.specimen().thaw_with(&["--changed-files", "new"]);
        new.expect_success("thaw");
        assert!(new.words().contains("what the program remembers of it"), "{}", new.said);
        job.make("go");
        assert_eq!(job.end(), format!("{RIGHT}log words and more\nwhere {}\n", log.display()));
        assert_eq!(done(fs::read_to_string(&log)), "new words and more!");
    }
}

#[test]
fn a_working_file_as_it_was_comes_into_a_place_of_its_own() {
    for missing in [false, true] {
        let (mut job, home) = awake(User::Root);
        let log = home.join("log");
        let group = freeze(&mut job, &["--keep", "files"]);
        if missing {
            done(fs::remove_file(&log));
            refused(&mut job, &group, &["--changed-files", "new"], &["cannot be found", "home/log"]);
        } else {
            put(&log, b"new words and more");
        }
        let outcome = job.specimen().thaw_with(&["--changed-files", "kept"]);
        outcome.expect_success("thaw");
        assert!(outcome.words().contains("it has the copy of the freeze"), "{}", outcome.said);
        job.make("go");
        let said = job.end();
        assert!(said.starts_with(&format!("{RIGHT}log two three\nwhere /var/lib/dormouse/files/")), "{said}");
        let place = said.lines().find_map(|line| line.strip_prefix("where ")).map(PathBuf::from).unwrap_or_default();
        assert!(place.ends_with(log.strip_prefix("/").unwrap_or(&log)), "{said}");
        assert_eq!(done(fs::read_to_string(&place)), "one two three!");
        // What the group has written into the copy since is nothing that it knows of when it is woken from the freeze once more.
        refused(
            &mut job,
            &group,
            &["--changed-files", "kept"],
            &["that an earlier thaw has put there has been changed"],
        );
        assert_eq!(done(fs::read_to_string(&place)), "one two three!");
        assert_eq!(log.exists(), !missing);
        if !missing {
            assert_eq!(done(fs::read_to_string(&log)), "new words and more");
        }
        done(fs::remove_file(&place));
    }
}

/// Has a file open and mapped, as databases have theirs, and changes it by what is mapped.
const DATABASE: &str = r#"
import mmap, os, sys, time

stage = sys.argv[1]
file = open(stage + "/data", "r+b", buffering=0)
pages = mmap.mmap(file.fileno(), 8192)
print("ready", flush=True)
while not os.path.exists(stage + "/go"):
    time.sleep(0.02)
pages[:3] = b"new"
print("data", file.read(8), pages[4096:4100], flush=True)
print("where", os.readlink("/proc/self/fd/%d" % file.fileno()), flush=True)
"#;

#[test]
fn a_file_that_is_open_and_mapped_is_one_as_it_was() {
    let mut job = Job::start("python3", User::Root, |folder| {
        done(fs::write(folder.join("data"), [&b"old data"[..], &[b'.'; 8184]].concat()));
        done(fs::write(folder.join("script.py"), DATABASE));
        let mut command = Command::new("python3");
        command.arg(folder.join("script.py")).arg(folder);
        command
    });
    job.wait_for("ready");
    let data = job.specimen().folder().join("data");
    let group = freeze(&mut job, &["--keep", "files"]);
    done(fs::remove_file(&data));
    refused(&mut job, &group, &[], &["cannot be found", "stage/data", "--changed-files kept"]);
    let outcome = job.specimen().thaw_with(&["--changed-files", "kept"]);
    outcome.expect_success("thaw");
    job.make("go");
    let said = job.end();
    assert!(said.contains("data b'new data' b'....'"), "{said}");
    let place = said.lines().find_map(|line| line.strip_prefix("where ")).map(PathBuf::from).unwrap_or_default();
    assert!(place.starts_with("/var/lib/dormouse/files") && !data.exists(), "{said}");
    done(fs::remove_file(place));
}

#[test]
fn what_is_mapped_and_closed_is_kept_with_the_files_that_are_open() {
    let (mut job, folder) = awake_with_mappings();
    let [data, words] = ["data", "words"].map(|name| folder.join(name));
    let group = freeze(&mut job, &["--keep", "files"]);
    assert!(kept(b"old words").is_some(), "what is mapped to be read is not kept");
    done(fs::remove_file(&data));
    put(&words, b"new words and more");
    // They are working files: what becomes of them is a person's choice.
    refused(&mut job, &group, &[], &["stage/data", "stage/words", "--changed-files kept"]);
    refused(&mut job, &group, &["--changed-files", "new"], &["stage/data"]);
    let outcome = job.specimen().thaw_with(&["--changed-files", "kept"]);
    outcome.expect_success("thaw");
    job.make("go");
    let said = job.end();
    assert!(said.contains("data b'old data' words b'old words'"), "{said}");
    let places = said.lines().find_map(|line| line.strip_prefix("where ")).unwrap_or_default();
    let places: Vec<PathBuf> = places.split(' ').map(PathBuf::from).collect();
    assert!(places.len() == 2 && places.iter().all(|place| place.starts_with("/var/lib/dormouse/files")), "{said}");
    assert!(done(fs::read(&places[0])).starts_with(b"new data") && !data.exists());
    assert_eq!(done(fs::read(&words)), b"new words and more");
    for place in places {
        done(fs::remove_file(place));
    }
}

#[test]
fn what_is_mapped_and_closed_is_not_kept_unasked() {
    let (mut job, folder) = awake_with_mappings();
    let group = freeze(&mut job, &[]);
    put(&folder.join("words"), b"new words and more");
    refused(&mut job, &group, &["--changed-files", "kept"], &["stage/words", "No copy of these was kept"]);
    put(&folder.join("words"), b"old words");
    job.specimen().thaw_with(&[]).expect_success("thaw");
    job.make("go");
    assert!(job.end().contains("data b'old data' words b'old words'"));
}

/// Under another name it is the same image; and who has removed it by hand may have put it elsewhere.
#[test]
fn what_an_image_needs_is_kept_whatever_becomes_of_its_name() {
    let (mut job, home) = awake(User::Root);
    let content = done(fs::read(home.join("library.so")));
    let (folder, pid) = (job.specimen().folder(), job.specimen().pid().to_string());
    let run = |arguments: &[&str]| command::run(arguments, &folder, || harness::group::reap(&BTreeSet::new()));
    let frozen = run(&["freeze", &pid, "--json"]);
    frozen.expect_success("freeze");
    let image = frozen.said.split('"').find(|word| word.ends_with(".dormouse"));
    let image = PathBuf::from(image.unwrap_or_else(|| panic!("no image: {}", frozen.said)));
    let elsewhere = folder.join("renamed.dormouse");
    done(fs::copy(&image, &elsewhere));
    done(fs::remove_file(&image));
    for _ in 0..2 {
        run(&["images"]).expect_success("images");
        assert!(kept(&content).is_some(), "it is needed");
    }
    done(fs::remove_file(home.join("library.so")));
    run(&["thaw", &elsewhere.to_string_lossy()]).expect_success("thaw");
    job.make("go");
    assert!(until(PATIENCE, || job.said().starts_with(RIGHT).then_some(())).is_some(), "{}", job.said());
}

/// Each file that is too large to be copied is told, and not the first alone.
#[test]
fn all_that_cannot_be_kept_is_told() {
    let mut job = Job::start("bash", User::Root, |folder| {
        for name in ["one", "other"] {
            done(done(File::create(folder.join(name))).set_len(300 << 20));
        }
        let mut command = Command::new("bash");
        command.args(["-c", "cd \"$1\"; exec 5<one 6<other; echo ready; kill -STOP $$; echo over", "bash"]).arg(folder);
        command
    });
    job.wait_for("ready");
    let told = job.specimen().freeze_with(&["--keep", "files"]);
    told.expect_success("freeze");
    let said = told.words();
    assert!(said.contains("no copy of it could be kept: it is too large to be copied"), "{said}");
    assert!(said.contains("stage/one") && said.contains("stage/other"), "{said}");
}
