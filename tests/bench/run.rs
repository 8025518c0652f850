//! One program through its rounds: started, frozen, thawed, checked.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::command;
use harness::wait::{PATIENCE, until};

use crate::{Bar, Case, disk, fixture};

/// What one run of the command took, from exec to exit.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// By the clock.
    pub time: Duration,
    /// Of the processors, by the command itself.
    pub processor: Duration,
    /// The most memory it had, bytes.
    pub memory: u64,
}

/// One round.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    pub freeze: Run,
    pub thaw: Run,
    /// How long `dd` took to write and to read the same bytes, where that is asked.
    pub disk: Option<(Duration, Duration)>,
    /// The image's size in bytes.
    pub image: u64,
}

/// The program's folder and its image, gone when dropped.
struct Place(PathBuf);

impl Place {
    fn make() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// All rounds of a case.
pub fn rounds(case: &Case, count: usize) -> Vec<Round> {
    // Orphans come to us instead of to PID 1, which may reap slowly.
    // SAFETY: takes numbers only.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    let against_disk = matches!(case.freeze, Bar::TimesDisk(_)) || matches!(case.thaw, Bar::TimesDisk(_));
    let source = against_disk.then(|| fixture::random_file(case.size));
    (0..count)
        .map(|number| {
            let round = round(case, source.as_ref());
            let [freeze, thaw] = [round.freeze, round.thaw].map(|run| run.time.as_secs_f64() * 1000.0);
            eprintln!("{} {}/{count}: {freeze:.1} ms, {thaw:.1} ms", case.name, number + 1);
            round
        })
        .collect()
}

fn round(case: &Case, source: Option<&File>) -> Round {
    let place = Place::make();
    let disk = source.map(|source| disk::write_and_read(source, &place.0));
    let pid = start(case, &place.0);
    let image = place.0.join("image.dormouse");
    let freeze = run(&["freeze", &pid.to_string(), "--output", &image.display().to_string()], &place.0);
    reap_all();
    let size = fs::metadata(&image).unwrap_or_else(|error| panic!("{}: {error}", image.display())).len();
    disk::forget(&image);
    let thaw = run(&["thaw", &image.display().to_string()], &place.0);
    fs::write(place.0.join("go"), "").unwrap_or_else(|error| panic!("{error}"));
    let mut status = 0;
    // SAFETY: waitpid writes one int, which we hold.
    let ended = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert!(ended == pid && status == 0, "{} did not come back as it was: status {status:#x}", case.name);
    Round { freeze, thaw, disk, image: size }
}

fn start(case: &Case, folder: &Path) -> i32 {
    let own = std::env::current_exe().unwrap_or_else(|error| panic!("{error}"));
    let mut command = Command::new(own);
    command.args(["fixture", case.mode, &case.size.to_string()]).arg(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // What the runner of the bench left open belongs to nobody in the group.
    // SAFETY: between fork and exec it makes one system call, which takes numbers only.
    unsafe {
        command.pre_exec(|| match libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    };
    // It is waited for by its pid: after a thaw there is no handle for it, and it is the same child all the same.
    #[allow(clippy::zombie_processes)]
    let child = command.spawn().unwrap_or_else(|error| panic!("{} does not start: {error}", case.name));
    let ready = until(PATIENCE, || folder.join("ready").exists().then_some(()));
    assert!(ready.is_some(), "{} was not ready within {PATIENCE:?}", case.name);
    // The file that says so is closed a moment after it appears.
    std::thread::sleep(Duration::from_millis(50));
    child.id() as i32
}

fn run(arguments: &[&str], folder: &Path) -> Run {
    let said = folder.join("said");
    let errors = File::create(&said).unwrap_or_else(|error| panic!("{}: {error}", said.display()));
    let mut command = Command::new(command::path());
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    let begin = Instant::now();
    // wait4(2) is asked for it below.
    #[allow(clippy::zombie_processes)]
    let child = command.spawn().unwrap_or_else(|error| panic!("dormouse does not start: {error}"));
    let mut status = 0;
    // SAFETY: all zeros is a value of this structure of numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: wait4 writes an int and a structure, which we hold.
    let ended = unsafe { libc::wait4(child.id() as i32, &raw mut status, 0, &raw mut usage) };
    let time = begin.elapsed();
    assert!(
        ended == child.id() as i32 && status == 0,
        "`dormouse {}` failed: {}",
        arguments.join(" "),
        fs::read_to_string(&said).unwrap_or_default()
    );
    let length = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    Run { time, processor: length(usage.ru_utime) + length(usage.ru_stime), memory: usage.ru_maxrss as u64 * 1024 }
}

/// Reaps what the freeze has ended: a pid is free only then.
fn reap_all() {
    let mut status = 0;
    // SAFETY: waitpid writes one int, which we hold.
    while unsafe { libc::waitpid(-1, &raw mut status, 0) } > 0 {}
}
