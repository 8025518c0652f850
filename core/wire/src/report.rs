//! What the engine answers: to a check, and when a freeze or a thaw has succeeded.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bus::Bus;
use crate::graph::Graph;
use crate::id::{ByteSize, FdNumber, Pid};
use crate::needs::Needs;
use crate::verdict::{Problem, ProcessName, Verdict};
use crate::window::Display;

/// Whether a group can be frozen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checked {
    /// The processes that would be frozen, the first one first; those that are known, where not all could be looked at.
    pub processes: Vec<ProcessName>,
    /// How many threads they have.
    pub threads: usize,
    /// How much memory they have, what they share with others counted for each of them.
    pub memory: ByteSize,
    /// The verdict, with its reasons.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What ties the group together, and what leads out of it.
    pub graph: Graph,
    /// What it needs of the system.
    pub needs: Needs,
    /// The X displays that its members are connected to, with their clients and windows among the members.
    pub displays: Vec<Display>,
    /// The message buses that its members are connected to, with the names that members have there.
    pub buses: Vec<Bus>,
    /// How many other processes could not be looked into: a tie with one of them does not show.
    pub unseen: usize,
}

/// What a person may want to know of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// Which one.
    #[serde(flatten)]
    pub process: ProcessName,
    /// The program and its arguments, proc_pid_cmdline(5); none for who has overwritten them.
    pub command_line: Vec<String>,
    /// Its memory in bytes, what it shares with others included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// How many threads it has.
    pub threads: usize,
    /// What it has open, by rising numbers.
    pub descriptors: Vec<Descriptor>,
}

/// What a process has open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// By which number.
    pub number: FdNumber,
    /// What it is: a path, or what the kernel calls it, proc_pid_fd(5).
    pub what: String,
}

/// A group sleeps in a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Frozen {
    /// The image.
    pub image: PathBuf,
    /// The processes that are in it, the first one first.
    pub processes: Vec<ProcessName>,
    /// How many threads they had.
    pub threads: usize,
    /// How much memory was looked at.
    pub memory: ByteSize,
    /// How large the image is.
    pub size: ByteSize,
    /// How long the group stood still before it was ended.
    pub stopped_for: Duration,
    /// The other ends of how many connections are held off until the thaw.
    #[serde(default)]
    pub held: usize,
    /// What was announced as lost.
    pub losses: Vec<Problem>,
}

/// A group runs again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Thawed {
    /// The image it came from; it is still there.
    pub image: PathBuf,
    /// The processes, the first one first.
    pub processes: Vec<ProcessName>,
    /// Those whose parent was outside the group: they are children of the caller now.
    pub roots: Vec<Pid>,
    /// The process group that was in the foreground of the outside terminal, or stopped on it. It has the caller's terminal
    /// now, if that was the caller's to give: the caller, as its parent, must wait for it as a shell does.
    pub foreground: Option<Pid>,
    /// Programs and libraries that have changed or are gone since the freeze, in whose places copies are that had been kept: their paths.
    #[serde(default)]
    pub kept: Vec<String>,
    /// What could not be given back.
    pub losses: Vec<Problem>,
}

/// What holds a paused process still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PausedBy {
    /// systemd, which has frozen the unit.
    Systemd,
    /// The freezer of cgroup v2.
    ControlGroup,
    /// The freezer of cgroup v1.
    OldFreezer,
    /// SIGSTOP, sent to every process.
    Signal,
}

impl fmt::Display for PausedBy {
    /// Behind "by": `by SIGSTOP`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Systemd => "systemd, which froze its unit",
            Self::ControlGroup => "the freezer of its control group",
            Self::OldFreezer => "the freezer of its control group (cgroup v1)",
            Self::Signal => "SIGSTOP",
        })
    }
}

/// A group stands still in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Its processes, the first one first.
    pub processes: Vec<ProcessName>,
    /// What holds it still.
    pub by: PausedBy,
    /// What became of its memory, if that was to go to swap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reclaimed: Option<Reclaimed>,
}

/// What went to swap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reclaimed {
    /// How much of the group's memory is in swap now and was not before.
    pub moved: ByteSize,
    /// Why nothing went, or not all: a clause without a full stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

/// A paused group goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// The processes that go on, the first one first.
    pub processes: Vec<ProcessName>,
    /// What had held them still.
    pub by: Vec<PausedBy>,
}
