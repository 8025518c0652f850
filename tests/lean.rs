//! A Dormouse that has less than the group: a lower limit, and not the capability to raise it. It says so before the group is
//! gone, and before anything is woken.
#![allow(missing_docs, clippy::panic)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};

use harness::specimen::without_inheritance;
use harness::{Job, User, command};

const COUNTER: &str = r#"
import os, time
print("ready", flush=True)
while not os.path.exists("go"):
    time.sleep(0.01)
print("done", flush=True)
"#;

/// Runs the command as sudo(8) does: without a limit on core files that is worth the name. Nor does it have CAP_SYS_RESOURCE.
fn lean(arguments: &[&str]) -> String {
    let mut lean = Command::new("prlimit");
    lean.args(["--core=0:0", "setpriv", "--bounding-set", "-sys_resource"]).arg(command::path()).args(arguments);
    let output = without_inheritance(lean.stdin(Stdio::null())).output();
    let output = output.unwrap_or_else(|error| panic!("prlimit(1) does not start: {error}"));
    assert!(!output.status.success(), "it succeeds");
    // Without its line breaks.
    let said = String::from_utf8_lossy(&output.stderr);
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn job(user: User) -> Job {
    // Its hard limit on core files is as it is for all programs here.
    let job = Job::script(&["python3", "-ISB"], user, ("counter.py", COUNTER), &[]);
    job.wait_for("ready");
    job
}

#[test]
fn a_limit_that_could_not_be_given_back_is_told_before_the_freeze() {
    let mut job = job(User::Ordinary);
    let (pid, image) = (job.specimen().pid().to_string(), job.specimen().image());
    let said = lean(&["freeze", &pid, "-o", &image.to_string_lossy()]);
    assert!(said.contains("hard limit on core file size"), "{said}");
    assert!(said.contains("CAP_SYS_RESOURCE"), "{said}");
    assert!(!image.exists(), "there is an image");
    job.make("go");
    assert_eq!(job.end(), "ready\ndone\n");
}

#[test]
fn a_limit_that_cannot_be_given_back_is_told_before_the_thaw() {
    let mut job = job(User::Ordinary);
    let group = job.fall_asleep();
    let image = job.specimen().image();
    let said = lean(&["thaw", &image.to_string_lossy()]);
    assert!(said.contains("hard limit on core file size"), "{said}");
    job.wake_up(&group);
    job.make("go");
    assert_eq!(job.end(), "ready\ndone\n");
}

/// Has many files open, more than its own limit by now.
const HOLDER: &str = r#"
import os, resource, time
files = [os.eventfd(number) for number in range(300)]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
print("ready", flush=True)
while not os.path.exists("go"):
    time.sleep(0.01)
print("done", sum(int.from_bytes(os.read(file, 8), "little") for file in files[1:]), flush=True)
"#;

/// Once, and not for each file.
#[test]
fn too_low_a_limit_on_open_files_is_told_once_before_the_freeze_and_before_the_thaw() {
    let few = |files: &str, arguments: &[&str]| {
        let mut few = Command::new("prlimit");
        few.arg(format!("--nofile={files}:{files}")).args(["setpriv", "--bounding-set", "-sys_resource"]);
        few.arg(command::path()).args(arguments);
        let output = without_inheritance(few.stdin(Stdio::null())).output();
        let output = output.unwrap_or_else(|error| panic!("prlimit(1) does not start: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        (output.status.success(), said.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let mut job = Job::script(&["python3", "-ISB"], User::Root, ("holder.py", HOLDER), &[]);
    job.wait_for("ready");
    let (pid, image) = (job.specimen().pid().to_string(), job.specimen().image());
    let image = image.to_string_lossy().into_owned();
    for files in ["80", "300"] {
        let (done, said) = few(files, &["freeze", &pid, "-o", &image]);
        assert!(!done && said.contains("1 thing stands in the way") && said.contains("more open than"), "{said}");
        assert!(said.contains(&format!("(pid {pid})")) && said.contains("ulimit -n"), "{said}");
    }
    let group = job.fall_asleep();
    for files in ["80", "300", "500"] {
        let (done, said) = few(files, &["thaw", &image]);
        assert!(!done && said.contains("1 thing stands in the way") && said.contains("a thaw of it takes"), "{said}");
        assert!(said.contains("The image cannot be thawed here") && said.contains("ulimit -n"), "{said}");
        job.specimen().assert_asleep(&group);
    }
    let (done, said) = few("700", &["thaw", "--background", &image]);
    assert!(done, "{said}");
    job.make("go");
    assert_eq!(job.end(), format!("ready\ndone {}\n", 299 * 300 / 2));
}

#[test]
fn who_runs_programs_with_a_limit_may_have_it_in_an_image() {
    const ORDINARY: u32 = 1000;
    let mut job = job(User::Ordinary);
    let group = job.fall_asleep();
    let image = job.specimen().image();
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let own = folder.path().join("own.dormouse");
    fs::copy(&image, &own).unwrap_or_else(|error| panic!("{error}"));
    fs::set_permissions(&own, fs::Permissions::from_mode(0o600)).unwrap_or_else(|error| panic!("{error}"));
    chown(&own, Some(ORDINARY), Some(ORDINARY)).unwrap_or_else(|error| panic!("{error}"));
    let _other = self::job(User::Ordinary);
    let said = lean(&["thaw", &own.to_string_lossy()]);
    assert!(said.contains("which may not raise it"), "{said}");
    assert!(!said.contains("all that the user runs"), "{said}");
    job.wake_up(&group);
    job.make("go");
    assert_eq!(job.end(), "ready\ndone\n");
}
