//! The service's side: starts a worker and listens to it.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;

use dormouse_wire::dbus::Failure;
use dormouse_wire::{Phase, Phrase, phrase};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::{ORDER, Order, Said};

/// Where the programs lie that a thawed group might start by name; nothing of the service's own environment goes on.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// This very program, proc_pid_exe(5), also after an upgrade has put another one in its place: that one may speak of other things.
const ITSELF: &str = "/proc/self/exe";
const NAME: &str = "dormouse";

/// A worker at its work.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// What came of it, once it has said so, until that has been told.
    ended: Option<Result<serde_json::Value, Ended>>,
}

/// What a worker tells.
#[derive(Debug)]
pub enum Progress {
    /// A phase begins, with so many bytes to move.
    Begins(Phase, u64),
    /// So many have been moved.
    Moved(u64),
    /// It has ended, and this came of it.
    Ended(Result<serde_json::Value, Ended>),
}

/// How it ended without doing what it was to do.
#[derive(Debug)]
pub enum Ended {
    /// It failed, and has undone what it had begun.
    Failed(Failure),
    /// It was cancelled.
    Cancelled(Failure),
}

impl Ended {
    /// Why.
    pub fn failure(self) -> Failure {
        match self {
            Self::Failed(failure) | Self::Cancelled(failure) => failure,
        }
    }
}

/// Starts a worker. `file`: what it copies from or to.
pub fn start(order: &Order, file: Option<OwnedFd>) -> Result<Worker, Failure> {
    let failed =
        |what: String| Failure { sentence: phrase!("The work could not begin: {what}.", what), problems: Vec::new() };
    let text = serde_json::to_string(order).map_err(|error| failed(error.to_string()))?;
    let mut command = Command::new(ITSELF);
    command.arg0(NAME).arg("worker");
    if order.who.mightier {
        command.env_clear().env("PATH", PATH).env("HOME", &order.who.home);
        let runtime = PathBuf::from(format!("/run/user/{}", order.who.user));
        if runtime.is_dir() {
            command.env("XDG_RUNTIME_DIR", runtime);
        }
        if let Some(log) = std::env::var_os("DORMOUSE_LOG") {
            command.env("DORMOUSE_LOG", log);
        }
    }
    let input = match file {
        Some(file) => Stdio::from(file),
        None if order.task.waits() => Stdio::piped(),
        None => Stdio::null(),
    };
    command.env(ORDER, text).stdin(input).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let out = child.stdout.take().ok_or_else(|| failed("it has no voice".to_owned()))?;
    Ok(Worker { child, lines: BufReader::new(out).lines(), ended: None })
}

impl Worker {
    /// Its pid, as long as it has one.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Lets it begin, if its task is one that [waits](Task::waits).
    pub fn let_go(&mut self) {
        self.child.stdin = None;
    }

    /// Asks it to undo what it does.
    pub fn cancel(&self) {
        if let Some(pid) = self.child.id() {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGTERM);
        }
    }

    /// The next that it tells. Does not lose anything when it is dropped before it answers.
    pub async fn next(&mut self) -> Progress {
        loop {
            if self.ended.is_some() {
                // So that no zombie stays. Whoever stops waiting meanwhile asks again, and is told then.
                let _ = self.child.wait().await;
            }
            if let Some(ended) = self.ended.take() {
                return Progress::Ended(ended);
            }
            let line = self.lines.next_line().await.ok().flatten();
            let said = line.as_deref().map(serde_json::from_str::<Said>);
            self.ended = Some(match said {
                Some(Ok(Said::Begins(phase, bytes))) => return Progress::Begins(phase, bytes),
                Some(Ok(Said::Moved(bytes))) => return Progress::Moved(bytes),
                Some(Ok(Said::Done(value))) => Ok(value),
                Some(Ok(Said::Failed(failure))) => Err(Ended::Failed(failure)),
                Some(Ok(Said::Cancelled(failure))) => Err(Ended::Cancelled(failure)),
                Some(Err(_)) => continue,
                None => Err(self.gone().await),
            });
        }
    }

    /// It ended without a word.
    async fn gone(&mut self) -> Ended {
        let failure = |sentence: Phrase| Failure { sentence, problems: Vec::new() };
        let how = match self.child.wait().await {
            // From its first steps on it holds this signal back.
            Ok(status) if status.signal() == Some(Signal::SIGTERM as i32) => {
                return Ended::Cancelled(failure(phrase!("It was cancelled before it had begun.")));
            }
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        Ended::Failed(failure(phrase!(
            "The process that did the work has ended before it was done ({how}). Whatever it had stopped runs on.",
            how
        )))
    }
}

/// Lets a worker do something brief, and waits for the answer. The worker ends with whoever waits.
pub async fn answer(order: &Order) -> Result<serde_json::Value, Failure> {
    let mut worker = start(order, None)?;
    loop {
        if let Progress::Ended(ended) = worker.next().await {
            return ended.map_err(Ended::failure);
        }
    }
}
