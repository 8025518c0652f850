//! What is said of a job.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::phrase::{Made, Phrase};
use crate::verdict::Problem;

/// What a job does. Stable names, on the bus and in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobKind {
    /// A group goes into an image.
    Freeze,
    /// It comes back.
    Thaw,
    /// An image is copied out of the folder.
    Export,
    /// An image is copied into the folder.
    Import,
    /// Another folder becomes that of the images.
    Move,
}

/// How far a job is. Stable names, on the bus and in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// It is at work.
    Running,
    /// It has done what it was to do.
    Done,
    /// It has undone what it had begun.
    Failed,
    /// It was asked to undo what it had begun, and has.
    Cancelled,
}

/// Each name, as serde writes it.
macro_rules! named {
    ($type:ident { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }

            /// What has this name.
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

named!(JobKind { Freeze => "freeze", Thaw => "thaw", Export => "export", Import => "import", Move => "move" });
named!(JobState { Running => "running", Done => "done", Failed => "failed", Cancelled => "cancelled" });

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Failure {
    /// What it comes to: a sentence.
    pub sentence: Phrase,
    /// The reasons, each with its way out.
    pub problems: Vec<Problem>,
}

/// A failure as it is written: in English, and beside it how its sentence was put together.
#[derive(Serialize, Deserialize)]
struct Written {
    sentence: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Problem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    words: Option<Made>,
}

impl From<Failure> for Written {
    fn from(failure: Failure) -> Self {
        let (sentence, words) = failure.sentence.apart();
        Self { sentence, problems: failure.problems, words }
    }
}

impl From<Written> for Failure {
    fn from(written: Written) -> Self {
        Self { sentence: Phrase::rejoined(written.sentence, written.words), problems: written.problems }
    }
}

impl fmt::Display for Failure {
    /// The sentence, and each reason on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{JobKind, JobState};

    #[test]
    fn names_are_those_of_json() {
        for state in [JobState::Running, JobState::Done, JobState::Failed, JobState::Cancelled] {
            assert_eq!(serde_json::to_value(state).ok(), Some(state.name().into()));
            assert_eq!(JobState::named(state.name()), Some(state));
        }
        for kind in [JobKind::Freeze, JobKind::Thaw, JobKind::Export, JobKind::Import] {
            assert_eq!(serde_json::to_value(kind).ok(), Some(kind.name().into()));
            assert_eq!(JobKind::named(kind.name()), Some(kind));
        }
        assert_eq!(JobState::named("asleep"), None);
    }
}
