//! Why something was not done, in words and with what a person can pass on.

use dormouse_wire::Problem;
use dormouse_wire::dbus::{Failure, error};
use gettextrs::gettext;

use crate::say;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What sort of thing it is.
    pub kind: TroubleKind,
    /// What it comes to: a sentence.
    pub sentence: String,
    /// The reasons, each with its way out.
    pub problems: Vec<Problem>,
    /// What a person can pass on, line by line.
    pub details: String,
}

/// What sort of trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// The person may not do it.
    NotAuthorized,
    /// There is no such thing any more.
    NotFound,
    /// It cannot be done.
    Failed,
    /// Not now.
    Busy,
    /// The service knows no such question: it is older than the app.
    Unknown,
    /// The service is not there, or does not answer.
    Silent,
}

impl Trouble {
    /// The service cannot be asked.
    pub fn silent(details: impl Into<String>) -> Self {
        Self {
            kind: TroubleKind::Silent,
            sentence: gettext("The service of Dormouse does not answer."),
            problems: Vec::new(),
            details: details.into(),
        }
    }

    /// The service says what nobody here understands.
    pub fn garbled(error: &serde_json::Error) -> Self {
        Self {
            kind: TroubleKind::Failed,
            sentence: gettext("The service of Dormouse answered something that this version does not understand."),
            problems: Vec::new(),
            details: error.to_string(),
        }
    }

    /// What the service refused by a D-Bus error: its first line is a sentence, each further line is a reason.
    fn refused(name: &str, message: &str) -> Self {
        let kind = match name {
            error::NOT_AUTHORIZED | "org.freedesktop.DBus.Error.AccessDenied" => TroubleKind::NotAuthorized,
            error::NOT_FOUND => TroubleKind::NotFound,
            error::BUSY | "org.freedesktop.DBus.Error.LimitsExceeded" => TroubleKind::Busy,
            error::FAILED => TroubleKind::Failed,
            "org.freedesktop.DBus.Error.UnknownMethod" => TroubleKind::Unknown,
            _ => return Self::silent(format!("{name}: {message}")),
        };
        let (sentence, details) = message.split_once('\n').unwrap_or((message, ""));
        Self { kind, sentence: say::translated(sentence), problems: Vec::new(), details: details.to_owned() }
    }
}

impl From<zbus::Error> for Trouble {
    fn from(error: zbus::Error) -> Self {
        match &error {
            zbus::Error::MethodError(name, message, _) => {
                Self::refused(name.as_str(), message.as_deref().unwrap_or_default())
            }
            other => Self::silent(other.to_string()),
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        let lines: Vec<String> = failure.problems.iter().map(ToString::to_string).collect();
        Self {
            kind: TroubleKind::Failed,
            sentence: say::phrase(&failure.sentence),
            problems: failure.problems,
            details: lines.join("\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_sentence_and_its_reasons() {
        let trouble = Trouble::refused(error::FAILED, "It cannot be frozen.\ncat (pid 3): a socket\nand more");
        assert_eq!(trouble.kind, TroubleKind::Failed);
        assert_eq!(trouble.sentence, "It cannot be frozen.");
        assert_eq!(trouble.details, "cat (pid 3): a socket\nand more");
    }

    #[test]
    fn what_no_service_says_is_silence() {
        let trouble = Trouble::refused("org.freedesktop.DBus.Error.NoReply", "timeout");
        assert_eq!(trouble.kind, TroubleKind::Silent);
        assert!(trouble.details.contains("timeout"), "{trouble:?}");
    }
}
