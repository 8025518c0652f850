//! Running the real command `dormouse`, as a person would.

use std::env;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::group::MARK;
use crate::wait;

/// What a run of the command came to.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote, standard output and then standard error.
    pub said: String,
    /// The most memory it had at any moment, bytes; `ru_maxrss`, getrusage(2).
    pub peak: u64,
}

impl Outcome {
    /// What it wrote, in one line.
    pub fn words(&self) -> String {
        self.said.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Panics with the command's own words unless it succeeded.
    pub fn expect_success(&self, what: &str) {
        assert!(self.status.success(), "`dormouse {what}` failed with {}:\n{}", self.status, self.said);
    }
}

/// Where the command is: `$DORMOUSE`, or beside the folder of the running test (`target/PROFILE/dormouse`).
pub fn path() -> PathBuf {
    let path = env::var_os("DORMOUSE").map_or_else(
        || {
            let test = env::current_exe().unwrap_or_else(|error| panic!("the running test is not known: {error}"));
            let profile = test.parent().and_then(Path::parent);
            profile.unwrap_or_else(|| panic!("{} lies in no target folder", test.display())).join("dormouse")
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "{} is missing: build the whole workspace first (`cargo build --workspace`), or name the command in DORMOUSE",
        path.display()
    );
    path
}

/// Runs the command; `meanwhile` is called every few milliseconds until it has ended.
pub fn run(arguments: &[&str], notes: &Path, mut meanwhile: impl FnMut()) -> Outcome {
    let file = |name: &str| {
        let path = notes.join(name);
        (File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())), path)
    };
    let ((out, out_path), (err, err_path)) = (file("dormouse.out"), file("dormouse.err"));
    let mut child = Command::new(path())
        .args(arguments)
        .env_remove(MARK)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .unwrap_or_else(|error| panic!("dormouse does not start: {error}"));
    let said = || format!("{}{}", read(&out_path), read(&err_path));
    let ended = wait::until(wait::PATIENCE, || {
        meanwhile();
        ended(&child)
    });
    let Some((status, peak)) = ended else {
        let _ = child.kill();
        let _ = child.wait();
        panic!("`dormouse {}` did not end within {:?}:\n{}", arguments.join(" "), wait::PATIENCE, said());
    };
    Outcome { status, said: said(), peak }
}

/// How the command ended, and how much memory it had at most; `None` while it runs.
fn ended(child: &Child) -> Option<(ExitStatus, u64)> {
    let mut status = 0;
    // SAFETY: plain numbers, for which zeros are as good as any.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let pid = child.id() as i32;
    // SAFETY: both live through the call, and WNOHANG keeps it from waiting.
    let waited = unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG, &raw mut usage) };
    assert!(waited >= 0, "waiting for dormouse: {}", std::io::Error::last_os_error());
    (waited == pid).then(|| (ExitStatus::from_raw(status), usage.ru_maxrss as u64 * 1024))
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
