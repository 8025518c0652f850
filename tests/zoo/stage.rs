//! What every program of the zoo does: set itself up, say so, wait for `go`, check itself, answer.
//!
//! A program is a function from a [`Stage`] to [`Held`]. Most keep something that can be looked at again and again:
//! [`Stage::keeps`] looks before it says `ready`, so that a kind that was never set up fails at once, and looks again
//! after `go`. A program whose look changes what it looks at calls [`Stage::ready_and_wait`] itself.

use std::ffi::CString;
use std::fmt::{Debug, Display};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::kernel;

/// Why a program could not do its part.
#[derive(Debug)]
pub enum Trouble {
    /// Something failed that must not.
    Failed(String),
    /// The machine cannot hold this kind at all.
    CannotBeHeldHere(String),
}

/// What a program comes to; what it finds wrong is on the stage.
pub type Held = Result<(), Trouble>;

impl<E: std::error::Error> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Says what failed.
pub trait Doing<T> {
    /// Puts `what` before the error.
    fn doing(self, what: &str) -> Result<T, Trouble>;
}

impl<T, E: Display> Doing<T> for Result<T, E> {
    fn doing(self, what: &str) -> Result<T, Trouble> {
        self.map_err(|error| Trouble::Failed(format!("{what}: {error}")))
    }
}

/// The list of what is wrong.
#[derive(Debug, Default)]
pub struct Wrong(Vec<String>);

impl Wrong {
    /// Something must hold.
    pub fn holds(&mut self, what: &str, holds: bool) {
        if !holds {
            self.0.push(format!("{what}: does not hold"));
        }
    }

    /// Two values must be equal.
    pub fn equal<T: PartialEq + Debug>(&mut self, what: &str, found: T, expected: T) {
        if found != expected {
            self.0.push(format!("{what}: found {found:?}, expected {expected:?}"));
        }
    }

    /// An operation must succeed, and give this.
    pub fn gives<T: PartialEq + Debug, E: Display>(&mut self, what: &str, found: Result<T, E>, expected: T) {
        match found {
            Ok(found) => self.equal(what, found, expected),
            Err(error) => self.0.push(format!("{what}: {error}")),
        }
    }

    /// Something is wrong.
    pub fn say(&mut self, wrong: impl Into<String>) {
        self.0.push(wrong.into());
    }
}

/// A folder to talk through, and the list of what is wrong.
#[derive(Debug)]
pub struct Stage {
    folder: PathBuf,
    /// What is added to the names of a child's files.
    suffix: String,
    go: CString,
    /// Where each check adds what it finds.
    pub wrong: Wrong,
}

impl Stage {
    /// A stage for the program's first process.
    pub fn new(folder: &Path) -> Result<Self, Trouble> {
        let go = CString::new(folder.join("go").to_string_lossy().as_bytes())?;
        Ok(Self { folder: folder.to_owned(), suffix: String::new(), go, wrong: Wrong::default() })
    }

    /// A path in the program's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Says that all is set up. Whatever was found wrong until here means that the kind was not set up.
    pub fn ready(&mut self) -> Held {
        if self.wrong.0.is_empty() {
            return fs::write(self.path(&format!("ready{}", self.suffix)), "").doing("saying ready");
        }
        Err(Trouble::Failed(format!("the kind was not set up: {}", self.wrong.0.join("; "))))
    }

    /// Whether `go` has been said. Opens nothing and allocates nothing.
    pub fn may_go(&self) -> bool {
        kernel::exists(&self.go)
    }

    /// Waits for `go` in naps of 20 ms. Gives up when nobody can say it any more.
    pub fn wait(&mut self) -> Held {
        let begin = Instant::now();
        while !self.may_go() {
            kernel::nap(Duration::from_millis(20));
            if begin.elapsed() > Duration::from_mins(10) || !self.folder.exists() {
                return Err(Trouble::Failed("nobody says go".to_owned()));
            }
        }
        Ok(())
    }

    /// [`Stage::ready`], then [`Stage::wait`].
    pub fn ready_and_wait(&mut self) -> Held {
        self.ready()?;
        self.wait()
    }

    /// `look` finds nothing wrong before, and nothing after.
    pub fn keeps(&mut self, mut look: impl FnMut(&mut Wrong)) -> Held {
        look(&mut self.wrong);
        self.ready_and_wait()?;
        look(&mut self.wrong);
        Ok(())
    }

    /// Forks a child that plays `part` on a stage of its own. Returns when the child is ready.
    pub fn child(&mut self, part: impl FnOnce(&mut Stage) -> Held) -> Result<Child, Trouble> {
        let pid = kernel::fork()?;
        if pid == 0 {
            let told = self.child_part(part);
            kernel::exit(i32::from(told.is_err()));
        }
        self.wait_for_part(pid)?;
        Ok(Child { pid })
    }

    /// What a child does that was just made: plays its part, and tells what it found wrong.
    pub fn child_part(&mut self, part: impl FnOnce(&mut Stage) -> Held) -> std::io::Result<()> {
        self.suffix = format!(".{}", std::process::id());
        self.wrong = Wrong::default();
        let held = part(self);
        let answer = self.answer(held);
        fs::write(self.path(&format!("part{}", self.suffix)), answer)
    }

    /// Waits until the child that was made by hand has said `ready`.
    pub fn wait_for_part(&mut self, pid: i32) -> Held {
        let (ready, part) = (self.path(&format!("ready.{pid}")), self.path(&format!("part.{pid}")));
        for _ in 0..6000 {
            if ready.exists() {
                return Ok(());
            }
            if let Ok(answer) = fs::read_to_string(&part) {
                return Err(Trouble::Failed(format!("child {pid} was not ready: {answer}")));
            }
            kernel::nap(Duration::from_millis(5));
        }
        Err(Trouble::Failed(format!("child {pid} was never ready")))
    }

    /// Waits for the child's end and takes over what it found wrong.
    pub fn join(&mut self, child: Child) {
        let pid = child.pid;
        match kernel::wait_for(pid) {
            Ok(kernel::Ended::Code(0)) => {}
            other => self.wrong.say(format!("child {pid} ended with {other:?}")),
        }
        self.hear(pid);
    }

    /// Takes over what process `pid`, which need not be a child, found wrong. It must have given its answer.
    pub fn hear(&mut self, pid: i32) {
        match fs::read_to_string(self.path(&format!("part.{pid}"))) {
            Ok(answer) if answer == "ok" => {}
            Ok(answer) => self.wrong.say(format!("child {pid}: {answer}")),
            Err(error) => self.wrong.say(format!("child {pid} gave no answer: {error}")),
        }
    }

    /// Gives the program's answer.
    pub fn finish(mut self, held: Held) {
        let answer = self.answer(held);
        let (part, result) = (self.path("result.part"), self.path("result"));
        let _ = fs::write(&part, answer).and_then(|()| fs::rename(&part, &result));
    }

    fn answer(&mut self, held: Held) -> String {
        match held {
            Err(Trouble::CannotBeHeldHere(why)) => return format!("cannot be held here: {why}"),
            Err(Trouble::Failed(what)) => self.wrong.say(what),
            Ok(()) => {}
        }
        if self.wrong.0.is_empty() { "ok".to_owned() } else { self.wrong.0.join("\n") }
    }
}

/// A forked child that plays a part.
#[derive(Clone, Copy, Debug)]
pub struct Child {
    /// Its pid.
    pub pid: i32,
}

/// The machine cannot hold this kind.
pub fn cannot<T>(why: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::CannotBeHeldHere(why.into()))
}
