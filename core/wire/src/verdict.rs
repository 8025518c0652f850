//! What stands in the way of a freeze or a thaw, and what would be lost: the same words for command, bus and window.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::Pid;
use crate::phrase::{Made, Phrase};

/// What a [`Problem`] is about. Stable names: programs match on them in `--json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ProblemKind {
    /// The selection names no process that can be frozen.
    Selection,
    /// A process came, went or changed while the engine worked.
    Process,
    /// A thread.
    Thread,
    /// A mapping of memory.
    Memory,
    /// An ordinary file, a directory or another named thing in a filesystem.
    File,
    /// A file that has no name any more.
    DeletedFile,
    /// A device file.
    Device,
    /// A pipe or FIFO.
    Pipe,
    /// A terminal.
    Terminal,
    /// A unix socket.
    UnixSocket,
    /// A socket of another family.
    Socket,
    /// eventfd, epoll and their like: a descriptor without a file.
    AnonymousFile,
    /// A lock on a file.
    Lock,
    /// A POSIX timer or interval timer.
    Timer,
    /// Signals: dispositions, pending ones, masks.
    Signal,
    /// Users, groups, capabilities.
    Credentials,
    /// Limits of resources.
    Limit,
    /// Scheduling: policy, priority, affinity.
    Scheduling,
    /// A seccomp filter or another confinement.
    Confinement,
    /// A namespace.
    Namespace,
    /// Another process traces this one.
    Tracer,
    /// A parent, session or process group outside the group.
    Family,
    /// A pid or tid that another process has.
    PidTaken,
    /// What the processor must be able to do.
    Processor,
    /// What the kernel must be able to do.
    Kernel,
    /// A privilege that the engine lacks.
    Privilege,
    /// The image itself: damaged, cut, too new, or it lies.
    Image,
    /// Room on a disk or in memory.
    Space,
    /// The work was cancelled.
    Cancelled,
}

/// How much a [`Problem`] weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It works, and something is lost.
    Loses,
    /// It does not work.
    Blocks,
}

/// What a thaw can be told so that something stands in its way no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remedy {
    /// To use files as they are now.
    NewFiles,
    /// To use the copies that were kept of them.
    KeptFiles,
    /// To go by the names of users and groups.
    ByName,
    /// To go by their numbers.
    AsTheyAre,
    /// One that this version does not know.
    #[serde(other)]
    Unknown,
}

/// A process as a person knows it: its number and its short name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessName {
    /// Its pid.
    pub pid: Pid,
    /// Its command name, proc_pid_comm(5).
    pub comm: String,
}

impl fmt::Display for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.comm.escape_debug(), self.pid)
    }
}

/// One thing a person must know: who, what, why, what would be lost, and the way out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Problem {
    /// What it is about.
    pub kind: ProblemKind,
    /// Whether it blocks or only loses something.
    pub severity: Severity,
    /// The process it concerns, if it concerns one.
    pub process: Option<ProcessName>,
    /// The resource: a path, a descriptor, an address range, a name.
    pub resource: Option<Phrase>,
    /// What is the matter and why: a clause without a full stop.
    pub what: Phrase,
    /// What would be lost: a clause without a full stop.
    pub loss: Option<Phrase>,
    /// What can be done about it: an imperative clause without a full stop.
    pub way_out: Option<Phrase>,
    /// The name by which the connection that it is about can be cut at a freeze, where it can:
    /// [`Disconnect`](crate::Disconnect). Where it blocks, `loss` says what that would cost.
    pub boundary: Option<String>,
    /// The connection that it is about is kept by a freeze that keeps connections, and nothing of it is lost then.
    pub keepable: bool,
    /// What a thaw can be told to go on all the same; nothing: it cannot.
    pub remedies: Vec<Remedy>,
}

impl Problem {
    /// Something that makes the work impossible.
    pub fn blocks(kind: ProblemKind, what: Phrase) -> Self {
        Self {
            kind,
            severity: Severity::Blocks,
            process: None,
            resource: None,
            what,
            loss: None,
            way_out: None,
            boundary: None,
            keepable: false,
            remedies: Vec::new(),
        }
    }

    /// Something that will be lost: `what` says why, `loss` what.
    pub fn loses(kind: ProblemKind, what: Phrase, loss: Phrase) -> Self {
        Self { severity: Severity::Loses, loss: Some(loss), ..Self::blocks(kind, what) }
    }

    /// Names the process.
    #[must_use]
    pub fn of(mut self, process: &ProcessName) -> Self {
        self.process = Some(process.clone());
        self
    }

    /// Names the resource. A name is the same in every language; a word for it is a phrase.
    #[must_use]
    pub fn at(mut self, resource: impl Into<Phrase>) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// Names the boundary at which it can be cut, and what that would cost.
    #[must_use]
    pub fn cut_at(mut self, boundary: impl Into<String>, loss: Phrase) -> Self {
        self.boundary = Some(boundary.into());
        self.loss = Some(loss);
        self
    }

    /// Says that a freeze which keeps connections keeps this one.
    #[must_use]
    pub fn keepable(self) -> Self {
        Self { keepable: true, ..self }
    }

    /// Says what a thaw can be told about it.
    #[must_use]
    pub fn settled_by(self, remedies: impl IntoIterator<Item = Remedy>) -> Self {
        Self { remedies: remedies.into_iter().collect(), ..self }
    }

    /// The same once the connection is cut: a loss, and no way out is needed.
    #[must_use]
    pub fn once_cut(self) -> Self {
        match self.boundary {
            Some(_) => Self { severity: Severity::Loses, way_out: None, ..self },
            None => self,
        }
    }

    /// What is lost as things stand, and not only once a connection is cut.
    pub fn lost(&self) -> Option<&Phrase> {
        let only_then = self.boundary.is_some() && self.severity == Severity::Blocks;
        self.loss.as_ref().filter(|_| !only_then)
    }

    /// Names the way out.
    #[must_use]
    pub fn way_out(mut self, way_out: Phrase) -> Self {
        self.way_out = Some(way_out);
        self
    }
}

impl fmt::Display for Problem {
    /// One line: `less (pid 42), descriptor 3: why it cannot be done; what would be lost. What to do.`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.process, &self.resource) {
            (Some(process), Some(resource)) => write!(f, "{process}, {resource}: ")?,
            (Some(process), None) => write!(f, "{process}: ")?,
            (None, Some(resource)) => write!(f, "{resource}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.what)?;
        if let Some(loss) = self.lost() {
            write!(f, "; lost: {loss}")?;
        }
        if let Some(way_out) = &self.way_out {
            write!(f, ". {way_out}")?;
        }
        Ok(())
    }
}

/// A problem as it is written: in English, and beside it how its phrases were put together.
#[derive(Serialize, Deserialize)]
struct Written {
    kind: ProblemKind,
    severity: Severity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<ProcessName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loss: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    way_out: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boundary: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    keepable: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    remedies: Vec<Remedy>,
    #[serde(default, skip_serializing_if = "Words::are_none")]
    words: Words,
}

/// How the phrases of a problem were put together, each by the name of its field.
#[derive(Default, Serialize, Deserialize)]
struct Words {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<Made>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    what: Option<Made>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loss: Option<Made>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    way_out: Option<Made>,
}

impl Words {
    fn are_none(&self) -> bool {
        self.resource.is_none() && self.what.is_none() && self.loss.is_none() && self.way_out.is_none()
    }
}

impl From<Problem> for Written {
    fn from(problem: Problem) -> Self {
        let apart =
            |phrase: Option<Phrase>| phrase.map(Phrase::apart).map_or((None, None), |(text, made)| (Some(text), made));
        let (what, what_of) = problem.what.apart();
        let (resource, resource_of) = apart(problem.resource);
        let (loss, loss_of) = apart(problem.loss);
        let (way_out, way_out_of) = apart(problem.way_out);
        Self {
            kind: problem.kind,
            severity: problem.severity,
            process: problem.process,
            resource,
            what,
            loss,
            way_out,
            boundary: problem.boundary,
            keepable: problem.keepable,
            remedies: problem.remedies,
            words: Words { resource: resource_of, what: what_of, loss: loss_of, way_out: way_out_of },
        }
    }
}

impl From<Written> for Problem {
    fn from(written: Written) -> Self {
        let words = written.words;
        let rejoined = |text: Option<String>, made_of| text.map(|text| Phrase::rejoined(text, made_of));
        Self {
            kind: written.kind,
            severity: written.severity,
            process: written.process,
            resource: rejoined(written.resource, words.resource),
            what: Phrase::rejoined(written.what, words.what),
            loss: rejoined(written.loss, words.loss),
            way_out: rejoined(written.way_out, words.way_out),
            boundary: written.boundary,
            keepable: written.keepable,
            remedies: written.remedies,
        }
    }
}

/// Whether a group can be frozen, always with its reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict", content = "reasons")]
pub enum Verdict {
    /// Nothing is lost.
    Freezable,
    /// It works, and these things are lost.
    Lossy(Vec<Problem>),
    /// These things stand in the way (losses among them are listed too).
    Blocked(Vec<Problem>),
}

impl Verdict {
    /// The verdict that a list of problems amounts to; equal ones are named once.
    pub fn from_problems(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.cmp(b)));
        problems.dedup();
        if problems.is_empty() {
            Self::Freezable
        } else if problems.iter().any(|problem| problem.severity == Severity::Blocks) {
            Self::Blocked(problems)
        } else {
            Self::Lossy(problems)
        }
    }

    /// What a freeze would say that keeps every connection that can be kept.
    #[must_use]
    pub fn once_kept(self) -> Self {
        match self {
            Self::Freezable => self,
            Self::Lossy(problems) | Self::Blocked(problems) => {
                Self::from_problems(problems.into_iter().filter(|problem| !problem.keepable).collect())
            }
        }
    }

    /// What a freeze would say that cuts every connection that can be cut, where nothing else stands in the way; else the
    /// same as before.
    #[must_use]
    pub fn once_cut(self) -> Self {
        let Self::Blocked(problems) = self else { return self };
        let blocks = |problem: &Problem| problem.severity == Severity::Blocks && problem.boundary.is_none();
        if problems.iter().any(blocks) {
            return Self::Blocked(problems);
        }
        Self::from_problems(problems.into_iter().map(Problem::once_cut).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phrase;

    #[test]
    fn what_can_be_cut_is_a_loss_once_nothing_else_stands_in_the_way() {
        let bus = Problem::blocks(ProblemKind::UnixSocket, phrase!("it is connected to a bus"))
            .cut_at("/run/bus", phrase!("it is closed"));
        let card = Problem::blocks(ProblemKind::Device, phrase!("it is a graphics card"));
        let cut = Verdict::from_problems(vec![bus.clone()]).once_cut();
        assert_eq!(cut, Verdict::Lossy(vec![bus.clone().once_cut()]));
        assert_eq!(bus.clone().once_cut().severity, Severity::Loses);
        assert_eq!(card.clone().once_cut(), card);
        let both = Verdict::from_problems(vec![bus, card]);
        assert_eq!(both.clone().once_cut(), both);
    }
}
