//! Programs of Debian's i386, which nobody here has compiled: they are downloaded and unpacked, not installed. A shell that counts, and a
//! pipeline of BusyBox.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Job, User};

as_each_user!(a_shell_counts, a_pipeline_flows);

const COUNTS: &str = r#"
n=0; i=0
echo ready
while [ $i -lt 60000 ] || [ ! -e go ]; do i=$((i+1)); n=$((n + i*i%7)); done
while [ $((i%7)) != 0 ]; do i=$((i+1)); n=$((n + i*i%7)); done
[ $n = $((i/7*14)) ] && echo "the sum is right"
"#;

fn a_shell_counts(user: User) {
    let mut job = Job::start("bash of i386", user, |folder| {
        let mut command = Command::new(program("bash-static", "bin/bash-static", folder));
        command.args(["-c", COUNTS]);
        command
    });
    job.wait_for("ready");
    job.nap_often(5);
    job.make("go");
    assert_eq!(job.end(), "ready\nthe sum is right\n");
}

const FLOWS: &str = r#"
busybox() { ./busybox "$@"; }
echo ready
(busybox seq 1 400000; while [ ! -e go ]; do busybox usleep 20000; done; busybox seq 400001 800000) \
    | busybox gzip -1 | busybox gunzip | busybox md5sum
"#;

fn a_pipeline_flows(user: User) {
    let mut job = Job::start("busybox of i386", user, |folder| {
        let mut command = Command::new(program("busybox-static", "bin/busybox", folder));
        command.args(["sh", "-c", FLOWS]);
        command
    });
    job.wait_for("ready");
    job.nap_often(5);
    job.make("go");
    let expected = Command::new("sh").args(["-c", "seq 1 800000 | md5sum"]).output();
    let expected = expected.unwrap_or_else(|error| panic!("md5sum: {error}")).stdout;
    assert_eq!(job.end(), format!("ready\n{}", String::from_utf8_lossy(&expected)));
}

/// Puts a program of a package into a folder.
fn program(package: &str, path: &str, folder: &Path) -> PathBuf {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("i386");
    let cached = cache.join(package);
    if !cached.exists() {
        let made = tempfile::Builder::new().prefix("i386-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let made = made.unwrap_or_else(|error| panic!("{error}"));
        download(package, made.path());
        let done = fs::create_dir_all(&cache).and_then(|()| fs::rename(made.path().join("root").join(path), &cached));
        done.unwrap_or_else(|error| panic!("{package}: {error}"));
    }
    let own = folder.join(Path::new(path).file_name().unwrap_or_default());
    fs::copy(&cached, &own).unwrap_or_else(|error| panic!("{}: {error}", own.display()));
    own
}

/// Downloads a package by lists of its own, so that nothing of the system's is changed, and unpacks it.
fn download(package: &str, folder: &Path) {
    for name in ["state/lists/partial", "cache/archives/partial", "root"] {
        fs::create_dir_all(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    fs::write(folder.join("status"), "").unwrap_or_else(|error| panic!("{error}"));
    let place = |name: &str, at: &str| format!("{name}={}", folder.join(at).display());
    let options = [
        place("Dir::State", "state"),
        place("Dir::State::status", "status"),
        place("Dir::Cache", "cache"),
        "APT::Architecture=i386".to_owned(),
        "APT::Architectures::=i386".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
        "Acquire::Languages=none".to_owned(),
    ];
    let run = |words: &[&str]| {
        let options = options.iter().flat_map(|option| ["-o", option]);
        let output = Command::new("apt-get").arg("-qq").args(options).args(words).current_dir(folder).output();
        output.unwrap_or_else(|error| panic!("apt-get: {error}"))
    };
    // Archives that know nothing of i386 are passed over with an error.
    run(&["update"]);
    let output = run(&["download", package]);
    assert!(output.status.success(), "{package}: {}", String::from_utf8_lossy(&output.stderr));
    let files = fs::read_dir(folder).unwrap_or_else(|error| panic!("{error}"));
    let file = files.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|end| end == "deb"));
    let file = file.unwrap_or_else(|| panic!("{package} was not downloaded"));
    let unpacked = Command::new("dpkg-deb").arg("-x").arg(file).arg(folder.join("root")).status();
    assert!(unpacked.is_ok_and(|status| status.success()), "{package} cannot be unpacked");
}
