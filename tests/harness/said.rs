//! What `dormouse check` and `dormouse freeze` say of a group: they must say the same.

use std::collections::BTreeSet;
use std::path::Path;

use dormouse_wire::Problem;
use serde::Deserialize;

use crate::command::{self, Outcome};

/// What one of the two said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The status it ended with.
    code: Option<i32>,
    /// All reasons.
    reasons: BTreeSet<Problem>,
    /// Its own words, for a failing test.
    words: String,
}

/// What `--json` answers, of all three kinds.
#[derive(Deserialize)]
struct Answer {
    #[serde(default, alias = "problems", alias = "losses")]
    reasons: Vec<Problem>,
}

impl Said {
    /// Asks `dormouse check`.
    pub fn by_check(pid: &str, freeze_arguments: &[&str], notes: &Path) -> Self {
        let mut arguments = vec!["check", pid, "--json"];
        arguments.extend(
            freeze_arguments.iter().filter(|argument| ["--tree-only", "--keep-connections"].contains(*argument)),
        );
        Self::of(&command::run(&arguments, notes, || {}))
    }

    /// What a freeze with `--json` has said.
    pub fn by_freeze(outcome: &Outcome) -> Self {
        Self::of(outcome)
    }

    fn of(outcome: &Outcome) -> Self {
        // Standard output comes first, and is one value; words for people follow.
        let mut values = serde_json::Deserializer::from_str(&outcome.said).into_iter::<Answer>();
        let answer = values.next().and_then(Result::ok);
        let reasons = answer.unwrap_or_else(|| panic!("an answer is no JSON:\n{}", outcome.said)).reasons;
        Self { code: outcome.status.code(), reasons: reasons.into_iter().collect(), words: outcome.said.clone() }
    }

    /// Panics unless the freeze has done what the check had announced, for the same reasons.
    pub fn compare(&self, freeze: &Self, accept_losses: bool) {
        let announced = match self.code {
            Some(0) => Some(0),
            Some(1) => Some(i32::from(!accept_losses)),
            Some(2) => Some(1),
            _ => panic!("`dormouse check` failed:\n{}", self.words),
        };
        assert!(
            announced == freeze.code && self.reasons == freeze.reasons,
            "check and freeze disagree.\ncheck said:\n{}\nfreeze said:\n{}",
            self.words,
            freeze.words
        );
    }
}
