//! Paths that have moved between freeze and thaw: `thaw --map` leads to the new ones all that a program holds by the old; and files
//! that are mapped, put there anew: the same ones are taken, others are refused by name.
#![allow(missing_docs, clippy::panic)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use harness::command;
use harness::packaged::some_library;
use harness::rewrite::rewrite;
use harness::wait::{PATIENCE, until};
use harness::{Job, User};

/// Holds all that it can by paths in one folder, and says in the end whether it finds it in another one, which it is told.
const PROGRAM: &str = r#"
import ctypes, mmap, os, socket, struct, sys, time

home, stage = sys.argv[1], sys.argv[2]
libc = ctypes.CDLL(None, use_errno=True)
os.chdir(home + "/work")
log = open(home + "/log", "r+b", buffering=0)
assert log.read(4) == b"one "
library = ctypes.CDLL(home + "/library.so")
library.cos.restype, library.cos.argtypes = ctypes.c_double, [ctypes.c_double]
with open(home + "/data", "rb") as data:
    text = mmap.mmap(data.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
text[0:1] = b"D"
server = socket.socket(socket.AF_UNIX)
server.bind(home + "/socket")
server.listen()
os.mkfifo(home + "/fifo")
fifo = os.open(home + "/fifo", os.O_RDWR)
gone = open(home + "/gone", "w+b", buffering=0)
gone.write(b"nameless")
os.unlink(home + "/gone")
linked = open(home + "/linked", "rb")
os.link(home + "/linked", home + "/left")
os.unlink(home + "/linked")
folder = os.open(home + "/work", os.O_RDONLY | os.O_DIRECTORY)
path_only = os.open(home + "/data", os.O_PATH)
watch = libc.inotify_init1(os.O_NONBLOCK)
assert libc.inotify_add_watch(watch, os.fsencode(home + "/work"), 0x100) == 1
print("ready", flush=True)
while not os.path.exists(stage + "/go"):
    time.sleep(0.02)

new = open(stage + "/new").read()
link = lambda number: os.readlink("/proc/self/fd/%d" % number)
wrong = []
def holds(what, found, wanted):
    if found != wanted:
        wrong.append((what, found, wanted))
holds("directory", os.getcwd(), new + "/work")
holds("program", os.readlink("/proc/self/exe"), new + "/program")
holds("log", link(log.fileno()), new + "/log")
holds("what follows", log.read(4), b"two ")
log.write(b"new!!")
log.close()
holds("where it was written", open(new + "/log", "rb").read(), b"one two new!!")
maps = open("/proc/self/maps").read()
holds("mappings of old paths", [line for line in maps.splitlines() if home + "/" in line] if home != new else [], [])
holds("the library is mapped", new + "/library.so" in maps, True)
holds("the library works", library.cos(0.0), 1.0)
holds("data", text[:], b"Data" * 1 + b" data" * 5000)
client = socket.socket(socket.AF_UNIX)
client.connect(new + "/socket")
client.send(b"hello")
holds("the server", server.accept()[0].recv(5), b"hello")
holds("its name", server.getsockname(), home + "/socket")
writer = os.open(new + "/fifo", os.O_WRONLY | os.O_NONBLOCK)
os.write(writer, b"x")
holds("the FIFO", os.read(fifo, 1), b"x")
gone.seek(0)
holds("the file without a name", gone.read(), b"nameless")
holds("the file with another name", (linked.read(), os.fstat(linked.fileno()).st_ino), (b"linked", os.stat(new + "/left").st_ino))
holds("the folder", link(folder), new + "/work")
holds("the path", link(path_only), new + "/data")
assert len(os.read(watch, 4096)) == 16
open(new + "/work/seen", "w").close()
holds("the watch", struct.unpack("iI", os.read(watch, 4096)[:8]), (1, 0x100))
holds("the old folder", os.path.exists(home), home == new)
print("right", not wrong, *wrong, flush=True)
"#;

fn done<T>(result: std::io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// A program that is asleep, with all it has in the folder `home` of its own.
fn asleep(user: User) -> (Job, BTreeSet<i32>, PathBuf) {
    let mut job = Job::start("python3", user, |folder| {
        let home = folder.join("home");
        done(fs::create_dir_all(home.join("work")));
        done(fs::copy(done(fs::canonicalize("/usr/bin/python3")), home.join("program")));
        done(fs::copy(some_library(), home.join("library.so")));
        done(fs::write(home.join("log"), "one two three"));
        done(fs::write(home.join("data"), format!("data{}", " data".repeat(5000))));
        done(fs::write(home.join("linked"), "linked"));
        done(fs::write(folder.join("script.py"), PROGRAM));
        if user == User::Ordinary {
            let who = Some(harness::specimen::ORDINARY);
            for path in ["", "work", "program", "library.so", "log", "data", "linked"] {
                done(std::os::unix::fs::chown(home.join(path), who, who));
            }
        }
        let mut command = Command::new("env");
        command.arg("PYTHONHOME=/usr").arg(home.join("program")).arg(folder.join("script.py")).arg(home).arg(folder);
        command
    });
    job.wait_for("ready");
    let group = job.specimen().members();
    // Copies of what has changed would be in the way of being told.
    job.specimen().freeze_with(&["--keep", "none"]).expect_success("freeze");
    job.specimen().assert_asleep(&group);
    let home = job.specimen().folder().join("home");
    (job, group, home)
}

fn map(old: &Path, new: &Path) -> String {
    format!("{}={}", old.display(), new.display())
}

/// The thaw says no, with these words; no process is left.
fn refused(job: &mut Job, group: &BTreeSet<i32>, options: &[&str], told: &[&str]) {
    let outcome = job.specimen().thaw_with(options);
    let said = outcome.words();
    assert!(!outcome.status.success(), "{options:?}: it was thawed");
    for word in told {
        assert!(said.contains(word), "{options:?}: the refusal does not say `{word}`:\n{}", outcome.said);
    }
    job.specimen().assert_asleep(group);
}

/// It is thawed, and finds all that it had in this folder.
fn finds_all(mut job: Job, group: &BTreeSet<i32>, options: &[&str], home: &Path) {
    let outcome = job.specimen().thaw_with(options);
    outcome.expect_success("thaw");
    job.specimen().assert_awake(group);
    done(fs::write(job.specimen().folder().join("new"), home.to_string_lossy().as_bytes()));
    job.make("go");
    assert_eq!(job.end(), "ready\nright True\n", "{}", outcome.said);
}

fn moved(user: User) {
    let (mut job, group, home) = asleep(user);
    let elsewhere = job.specimen().folder().join("a new=home");
    done(fs::rename(&home, &elsewhere));
    refused(
        &mut job,
        &group,
        &[],
        &["cannot be found", "its working directory cannot be entered", "home/data", "--map OLD=NEW"],
    );
    let typo = home.with_file_name("hom");
    let told = ["nothing that the image uses of this system has this path", "the nearest are", "stage/home/data"];
    refused(&mut job, &group, &["--map", &map(&typo, &elsewhere)], &told);
    let wrong = map(&home, &typo);
    refused(
        &mut job,
        &group,
        &["--map", &wrong],
        &["cannot be found", "stage/hom/data", "stage/hom/library.so", "stage/hom/work"],
    );
    let (one, two) = (map(&home, &elsewhere), map(&home, &typo));
    refused(&mut job, &group, &["--map", &one, "--map", &two], &["said twice"]);
    for text in ["home=/elsewhere", "/home", "/home=elsewhere", "/a/../b=/c"] {
        let outcome = job.specimen().thaw_with(&["--map", text]);
        assert_eq!(outcome.status.code(), Some(2), "{text}: {}", outcome.said);
    }
    finds_all(job, &group, &["--map", &one], &elsewhere);
}

#[test]
fn all_that_a_program_has_by_paths_is_found_where_it_has_moved_to_for_root() {
    moved(User::Root);
}

#[test]
fn all_that_a_program_has_by_paths_is_found_where_it_has_moved_to_for_a_user() {
    moved(User::Ordinary);
}

/// Within a sandbox names stay: what has moved is the folder that is mounted there.
#[test]
fn what_a_sandbox_has_mounted_is_mounted_from_where_it_has_moved_to() {
    let script = "cd /inner && exec 3>> log && echo ready && while ! [ -e /work/go ]; do sleep 0.1; done \
                  && echo more >&3 && [ $(pwd) = /inner ] && grep -q more /inner/log && echo right";
    let mut job = Job::start("bwrap", User::Root, |folder| {
        let inner = folder.join("inner");
        done(fs::create_dir(&inner));
        let mut command = Command::new("bwrap");
        command.args([
            "--unshare-pid",
            "--ro-bind",
            "/",
            "/",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--tmpfs",
            "/tmp",
            "--bind",
        ]);
        command.arg(folder).args(["/mnt", "--tmpfs", "/srv", "--dir", "/srv/inner", "--bind"]).arg(inner);
        command.args(["/srv/inner", "--tmpfs", "/run", "sh", "-c"]);
        command.arg(script.replace("/inner", "/srv/inner").replace("/work", "/mnt"));
        command
    });
    job.wait_for("ready");
    let (folder, image) = (job.specimen().folder(), job.specimen().image());
    let shown = image.to_string_lossy().into_owned();
    let run = |arguments: &[&str]| command::run(arguments, &folder, || harness::group::reap(&BTreeSet::new()));
    run(&["freeze", &job.specimen().pid().to_string(), "-o", &shown]).expect_success("freeze");
    let (inner, elsewhere) = (folder.join("inner"), folder.join("elsewhere"));
    done(fs::rename(&inner, &elsewhere));
    let missing = run(&["thaw", &shown]);
    assert!(!missing.status.success() && missing.words().contains("cannot be found"), "{}", missing.said);
    let within = run(&["thaw", "--map", "/srv/inner=/srv/other", &shown]);
    assert!(!within.status.success() && within.words().contains("nothing that the image uses"), "{}", within.said);
    run(&["thaw", "--map", &map(&inner, &elsewhere), &shown]).expect_success("thaw");
    job.make("go");
    let said = until(PATIENCE, || job.said().contains("right").then_some(()));
    assert!(said.is_some(), "{}{}", job.said(), job.specimen().errors());
    assert_eq!(done(fs::read_to_string(elsewhere.join("log"))), "more\n");
}

/// A sandbox that sees the whole system: there the names of what has moved are others.
#[test]
fn what_lies_in_the_system_that_a_sandbox_sees_is_found_where_it_has_moved_to() {
    let mut job = Job::start("unshare", User::Root, |folder| {
        let inner = folder.join("inner");
        done(fs::create_dir(&inner));
        let script = format!(
            "cd {} && exec 3>> log && echo ready && while ! [ -e ../go ]; do sleep 0.1; done \
             && echo more >&3 && [ $(cat {}/log) = more ] && echo right",
            inner.display(),
            folder.join("elsewhere").display()
        );
        let mut command = Command::new("unshare");
        command.args(["-mp", "--fork", "--mount-proc", "sh", "-c", &script]);
        command
    });
    job.wait_for("ready");
    let (folder, image) = (job.specimen().folder(), job.specimen().image());
    let shown = image.to_string_lossy().into_owned();
    let run = |arguments: &[&str]| command::run(arguments, &folder, || harness::group::reap(&BTreeSet::new()));
    run(&["freeze", &job.specimen().pid().to_string(), "-o", &shown]).expect_success("freeze");
    let (inner, elsewhere) = (folder.join("inner"), folder.join("elsewhere"));
    done(fs::rename(&inner, &elsewhere));
    let missing = run(&["thaw", &shown]);
    assert!(!missing.status.success() && missing.words().contains("cannot be found"), "{}", missing.said);
    run(&["thaw", "--map", &map(&inner, &elsewhere), &shown]).expect_success("thaw");
    job.make("go");
    let said = until(PATIENCE, || job.said().contains("right").then_some(()));
    assert!(said.is_some(), "{}{}", job.said(), job.specimen().errors());
}

/// Puts a file in the place of another, a minute younger.
fn put(path: &Path, content: &[u8]) {
    let beside = path.with_extension("beside");
    done(fs::copy(path, &beside));
    done(fs::write(&beside, content));
    let age = SystemTime::now() + Duration::from_mins(1);
    done(done(File::options().write(true).open(&beside)).set_modified(age));
    done(fs::rename(beside, path));
}

fn find(all: &[u8], wanted: &[u8]) -> usize {
    all.windows(wanted.len()).position(|window| window == wanted).unwrap_or_else(|| panic!("it has no build-id"))
}

#[test]
fn a_mapped_file_put_there_anew_is_the_same_file_and_another_is_refused_by_name() {
    for user in [User::Root, User::Ordinary] {
        let (mut job, group, home) = asleep(user);
        let (library, data) = (home.join("library.so"), home.join("data"));
        let (old, old_data) = (done(fs::read(&library)), done(fs::read(&data)));
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();

        let mut other = old.clone();
        let note = find(&old, b"\x14\0\0\0\x03\0\0\0GNU\0") + 12;
        other[note] ^= 1;
        let (build, built) = (hex(&old[note..note + 20]), hex(&other[note..note + 20]));
        put(&library, &other);
        let told = ["changed or replaced", "home/library.so", &build, &built, "Install the build"];
        refused(&mut job, &group, &[], &told);

        let mut patched = old.clone();
        let middle = old.len() / 2;
        patched[middle] ^= 1;
        put(&library, &patched);
        refused(
            &mut job,
            &group,
            &[],
            &["changed or replaced", "home/library.so", "written 20", "Put the old file back"],
        );

        put(&library, &[&old[..], b"more"].concat());
        refused(
            &mut job,
            &group,
            &[],
            &["changed or replaced", "home/library.so", &format!("had {} bytes", old.len())],
        );
        put(&library, &old);

        let mut changed = old_data.clone();
        changed[middle % old_data.len()] ^= 1;
        put(&data, &changed);
        refused(&mut job, &group, &[], &["changed or replaced", "home/data"]);
        put(&data, &old_data);
        put(&home.join("program"), &done(fs::read(home.join("program"))));
        finds_all(job, &group, &[], &home);
    }
}

#[test]
fn an_image_that_knows_only_sizes_and_dates_wants_them_as_they_were() {
    let (mut job, group, home) = asleep(User::Root);
    rewrite(&job.specimen().image(), |group, _| group.mapped_files.iter_mut().for_each(|file| file.likeness = None));
    let library = home.join("library.so");
    let modified = done(done(fs::metadata(&library)).modified());
    let old = done(fs::read(&library));
    put(&library, &old);
    refused(&mut job, &group, &[], &["changed or replaced", "home/library.so"]);
    done(done(File::options().write(true).open(&library)).set_modified(modified));
    finds_all(job, &group, &[], &home);
}
