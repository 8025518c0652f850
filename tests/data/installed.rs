//! What `make install` leaves behind, in a folder of its own, and the programs that look at it.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use harness::specimen::without_inheritance;

/// The application's id.
pub const ID: &str = "io.github.dormouse.Dormouse";
/// The service's name on the bus.
pub const SERVICE: &str = "io.github.dormouse.Dormouse1";

/// The folder of the project.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| panic!("the tests lie in no workspace"))
}

pub fn done<T, E: Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// The text of a file.
pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a program wrote.
#[derive(Debug)]
pub struct Said {
    pub succeeded: bool,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Its standard output; panics with all that it said unless it succeeded.
    pub fn expect_success(self) -> String {
        assert!(self.succeeded, "{}\n{}", self.out, self.err);
        self.out
    }

    /// Panics unless it succeeded and had nothing to say.
    pub fn expect_silence(self) {
        assert!(self.succeeded && self.out.is_empty() && self.err.is_empty(), "{}\n{}", self.out, self.err);
    }
}

/// Runs a program. One that is missing fails the test: `make test` installs it.
pub fn run(command: &mut Command) -> Said {
    let command = command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    let output = without_inheritance(command).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { succeeded: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Runs a goal of the Makefile.
pub fn make(goals: &[&str], variables: &[(&str, &Path)]) -> String {
    let mut make = Command::new("make");
    make.arg("-C").arg(workspace()).args(["--no-print-directory", "SOURCES="]).args(goals);
    make.args(variables.iter().map(|(name, value)| format!("{name}={}", value.display())));
    run(&mut make).expect_success()
}

/// What is installed below `/usr`; gone when this is dropped.
#[derive(Debug)]
pub struct Installed(tempfile::TempDir);

impl Installed {
    /// Installs the service and, with a program in its place, the app.
    pub fn new() -> Self {
        let place = done(tempfile::tempdir());
        make(
            &["install-service", "install-app"],
            &[("DESTDIR", place.path()), ("PREFIX", Path::new("/usr")), ("APP", Path::new("/bin/true"))],
        );
        Self(place)
    }

    /// A file below `/usr/share`.
    pub fn share(&self, name: &str) -> PathBuf {
        self.path(&format!("share/{name}"))
    }

    /// A file below `/usr`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("usr").join(name)
    }

    /// A folder for what a test writes.
    pub fn room(&self) -> PathBuf {
        let room = self.0.path().join("room");
        done(fs::create_dir_all(&room));
        room
    }
}

/// The value behind `KEY=` in a file of keys and values; every key once.
pub fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let mut values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let value = values.next().unwrap_or_else(|| panic!("there is no {key}= in\n{text}"));
    assert_eq!(values.next(), None, "{key}= is there twice");
    value
}
