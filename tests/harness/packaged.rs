//! A program with all that it has in a folder of its own: itself, a library like no other, and a working file. Tests change them, or take
//! them away, while it sleeps.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::specimen::ORDINARY;
use crate::{Job, User};

/// Holds a library, its own program, and a working file; says in the end what it finds of them.
const PROGRAM: &str = r#"
import ctypes, mmap, os, sys, time

home, stage = sys.argv[1], sys.argv[2]
library = ctypes.CDLL(home + "/library.so")
library.cos.restype, library.cos.argtypes = ctypes.c_double, [ctypes.c_double]
log = open(home + "/log", "r+b", buffering=0)
assert log.read(4) == b"one "
print("ready", flush=True)
while not os.path.exists(stage + "/go"):
    time.sleep(0.02)
maps = [line.split(None, 5)[5] for line in open("/proc/self/maps").read().splitlines() if home in line]
print("maps", *sorted(set(path[len(home):] for path in maps)), flush=True)
print("runs", os.readlink("/proc/self/exe")[len(home):], flush=True)
print("cos", library.cos(0.0), flush=True)
print("again", os.spawnv(os.P_WAIT, "/proc/self/exe", ["python3", "-c", "raise SystemExit(7)"]), flush=True)
print("log", log.read().decode(), flush=True)
log.write(b"!")
print("where", os.readlink("/proc/self/fd/%d" % log.fileno()), flush=True)
"#;

/// What it says where all is as it was, but for the file: `log`, what was left to read of it, and `where`, the name that it has.
pub const RIGHT: &str = "ready\nmaps /library.so /program\nruns /program\ncos 1.0\nagain 7\n";

fn done<T>(result: std::io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// A library of the system that programs load.
pub fn some_library() -> PathBuf {
    let maps = done(fs::read_to_string("/proc/self/maps"));
    let place = maps.split_whitespace().find(|word| word.ends_with("/libc.so.6"));
    Path::new(place.unwrap_or_else(|| panic!("no libc:\n{maps}"))).with_file_name("libm.so.6")
}

/// It runs, and this is its folder: with `program`, `library.so` and `log`. It says [`RIGHT`] once a file `go` is there.
pub fn awake(user: User) -> (Job, PathBuf) {
    let mut job = Job::start("python3", user, |folder| {
        let home = fill(folder, user);
        let mut command = Command::new("env");
        command.arg("PYTHONHOME=/usr").arg(home.join("program")).arg(folder.join("script.py")).arg(home).arg(folder);
        command
    });
    job.wait_for("ready");
    let home = job.specimen().folder().join("home");
    (job, home)
}

/// The same in a sandbox of bubblewrap, which has the folder at `/work`, and a shell outside that waits for it.
pub fn awake_in_sandbox() -> (Job, PathBuf) {
    let mut job = Job::start("sh", User::Root, |folder| {
        fill(folder, User::Root);
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "\"$@\"; echo it ends with $?",
            "sh",
            "bwrap",
            "--unshare-pid",
            "--ro-bind",
            "/usr",
            "/usr",
        ]);
        for name in ["lib", "lib64"] {
            command.args(["--symlink", &format!("usr/{name}"), &format!("/{name}")]);
        }
        command.args(["--proc", "/proc", "--dev", "/dev", "--bind"]).arg(folder).arg("/work");
        command.args(["env", "PYTHONHOME=/usr", "/work/home/program", "/work/script.py", "/work/home", "/work"]);
        command
    })
    .by_its_numbers();
    job.wait_for("ready");
    let home = job.specimen().folder().join("home");
    (job, home)
}

/// Puts a file in the place of another, as a package manager does, a minute younger.
pub fn put(path: &Path, content: &[u8]) {
    let beside = path.with_extension("beside");
    done(fs::copy(path, &beside));
    done(fs::write(&beside, content));
    let before = done(path.metadata());
    done(chown(&beside, Some(before.uid()), Some(before.gid())));
    let age = SystemTime::now() + Duration::from_mins(1);
    done(done(File::options().write(true).open(&beside)).set_modified(age));
    done(fs::rename(beside, path));
}

/// Upgrades the library to one in which whoever runs crashes, and takes the program away; what the library holds now.
pub fn upgrade(home: &Path) -> Vec<u8> {
    let library = home.join("library.so");
    let mut other = done(fs::read(&library));
    other[0x4000..].fill(0);
    put(&library, &other);
    done(fs::remove_file(home.join("program")));
    other
}

/// Has files mapped that it has closed, to change one and to read the other.
const CLOSER: &str = r#"
import mmap, os, sys, time

stage = sys.argv[1]
data, words = open(stage + "/data", "r+b"), open(stage + "/words", "rb")
pages = mmap.mmap(data.fileno(), 8192)
known = mmap.mmap(words.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
# Python keeps a descriptor of its own for each mapping.
for number in range(3, 64):
    try:
        os.close(number)
    except OSError:
        pass
print("ready", flush=True)
while not os.path.exists(stage + "/go"):
    time.sleep(0.02)
print("data", pages[:8], "words", known[:9], flush=True)
pages[:3] = b"new"
where = [line.split()[5] for line in open("/proc/self/maps") if "stage/" in line]
print("where", *sorted(where), flush=True)
"#;

/// It runs, and this is its folder: with `data` and `words`, which it has mapped and not open.
pub fn awake_with_mappings() -> (Job, PathBuf) {
    let mut job = Job::start("python3", User::Root, |folder| {
        done(fs::write(folder.join("data"), [&b"old data"[..], &[b'.'; 8184]].concat()));
        done(fs::write(folder.join("words"), "old words"));
        done(fs::write(folder.join("script.py"), CLOSER));
        let mut command = Command::new("python3");
        command.arg(folder.join("script.py")).arg(folder);
        command
    });
    job.wait_for("ready");
    let folder = job.specimen().folder();
    (job, folder)
}

/// What it needs, in this folder; where it lives in it.
pub fn fill(folder: &Path, user: User) -> PathBuf {
    let home = folder.join("home");
    done(fs::create_dir(&home));
    // Like no others: the copies that are kept of them are nobody else's.
    let mark = folder.to_string_lossy().into_owned().into_bytes();
    let python = done(fs::canonicalize("/usr/bin/python3"));
    done(fs::copy(&python, home.join("program")));
    done(fs::write(home.join("program"), [&done(fs::read(python))[..], &mark].concat()));
    done(fs::write(home.join("library.so"), [done(fs::read(some_library())), mark].concat()));
    done(fs::write(home.join("log"), "one two three"));
    done(fs::write(folder.join("script.py"), PROGRAM));
    if user == User::Ordinary {
        let who = Some(ORDINARY);
        for path in ["", "program", "library.so", "log"] {
            done(chown(home.join(path), who, who));
        }
    }
    home
}

/// Removes the images whose names begin so from root's folder of images.
pub fn forget(name: &str) {
    for entry in fs::read_dir("/var/lib/dormouse").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(name) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The copy that is kept of this content among root's images.
pub fn kept(content: &[u8]) -> Option<PathBuf> {
    let same = |path: &PathBuf| {
        path.metadata().is_ok_and(|found| found.len() == content.len() as u64)
            && fs::read(path).is_ok_and(|found| found == content)
    };
    let entries = fs::read_dir("/var/lib/dormouse/kept/objects").into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).find(same)
}
