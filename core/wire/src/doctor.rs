//! What freezing and thawing take of a machine, and whether it is there.

use serde::{Deserialize, Serialize};

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It has been tried, and works.
    Works,
    /// It has been tried, and does not.
    Missing,
    /// Something else that is missing keeps it from being tried.
    Untried,
}

/// How much something counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Without it nothing can be frozen or thawed.
    Needed,
    /// Without it something is refused, lost or slower.
    Wanted,
}

/// One thing that freezing and thawing take of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ability {
    /// A stable name, such as `time-namespaces`.
    pub name: String,
    /// Whether it is there.
    pub state: State,
    /// How much it counts.
    pub weight: Weight,
    /// What it gives: a noun phrase.
    pub gives: String,
    /// Where it comes from: a version of Linux, an option of the kernel, a capability.
    pub from: String,
    /// What is so without it: a clause without a full stop.
    pub without: String,
    /// What the kernel answered when it was tried, where that tells more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// What can be done where it is missing: an imperative clause without a full stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_out: Option<String>,
}

/// What there is of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examined {
    /// The kernel's release, uname(2).
    pub kernel: String,
    /// The kind of processor, such as `x86_64`.
    pub machine: String,
    /// All that freezing and thawing take, what is needed first.
    pub abilities: Vec<Ability>,
}

impl Examined {
    /// Whether groups can be frozen and thawed here at all.
    pub fn can_freeze(&self) -> bool {
        self.abilities.iter().all(|ability| ability.weight == Weight::Wanted || ability.state == State::Works)
    }
}
