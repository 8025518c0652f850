//! What the engine answers: to a check, and when a freeze or a thaw has succeeded.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::graph::Graph;
use crate::id::{ByteSize, Pid};
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
    /// The X displays that its members are connected to, with their clients and windows among the members.
    pub displays: Vec<Display>,
    /// How many other processes could not be looked into: a tie with one of them does not show.
    pub unseen: usize,
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
    /// What could not be given back.
    pub losses: Vec<Problem>,
}
