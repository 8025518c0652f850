//! How the command ends: 0, 1 for a failure, 2 for wrong usage (clap sees to that), or the status of a job.

use std::io;
use std::process::ExitCode;

use dormouse_engine::{FreezeError, PauseError, ResumeError, ThawError};
use dormouse_service::failure;
use dormouse_wire::{Problem, ProblemKind, Severity, dbus};
use nix::errno::Errno;

/// What every subcommand answers.
pub type Outcome = Result<ExitCode, Failure>;

/// Why the command ends with 1, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What has not happened: a whole sentence.
    pub sentence: String,
    /// Every reason there is.
    pub problems: Vec<Problem>,
    /// What the person may do next: a whole sentence.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure that one sentence explains.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), problems: Vec::new(), hint: None }
    }

    /// A failure of the system: `what` says what was tried, as in `The folder /x cannot be made`.
    pub fn system(what: impl std::fmt::Display, error: &io::Error) -> Self {
        // Without "(os error 13)": a person has no use for the number.
        let why =
            error.raw_os_error().map_or_else(|| error.to_string(), |code| Errno::from_raw(code).desc().to_owned());
        Self::new(format!("{what}: {why}."))
    }

    /// The reasons.
    #[must_use]
    pub fn because(mut self, problems: Vec<Problem>) -> Self {
        self.problems = problems;
        self
    }

    /// Whether this is all that has stood in the way.
    pub fn is_only(&self, kind: ProblemKind) -> bool {
        let mut blocks = self.problems.iter().filter(|problem| problem.severity == Severity::Blocks).peekable();
        blocks.peek().is_some() && blocks.all(|problem| problem.kind == kind)
    }

    /// What to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<dbus::Failure> for Failure {
    fn from(failure: dbus::Failure) -> Self {
        Self::new(failure.sentence).because(failure.problems)
    }
}

impl From<FreezeError> for Failure {
    fn from(error: FreezeError) -> Self {
        let losses = matches!(&error, FreezeError::Refused(problems) if failure::only_losses(problems));
        let failure = Self::from(failure::of_freeze(error));
        if losses { failure.hint("To freeze it all the same, say --accept-losses.") } else { failure }
    }
}

impl From<ThawError> for Failure {
    fn from(error: ThawError) -> Self {
        failure::of_thaw(error).into()
    }
}

impl From<PauseError> for Failure {
    fn from(error: PauseError) -> Self {
        failure::of_pause(error).into()
    }
}

impl From<ResumeError> for Failure {
    fn from(error: ResumeError) -> Self {
        failure::of_resume(error).into()
    }
}

#[cfg(test)]
mod tests {
    use dormouse_engine::FreezeError;
    use dormouse_wire::phrase;
    use dormouse_wire::{Problem, ProblemKind};

    use super::Failure;

    #[test]
    fn the_flag_for_losses_is_named_only_where_it_helps() {
        let loss =
            Problem::loses(ProblemKind::Socket, phrase!("it leads to another machine"), phrase!("the connection"));
        let block = Problem::blocks(ProblemKind::Device, phrase!("it is a graphics card"));
        let lossy = Failure::from(FreezeError::Refused(vec![loss.clone()]));
        assert!(lossy.hint.is_some_and(|hint| hint.contains("--accept-losses")));
        assert_eq!(Failure::from(FreezeError::Refused(vec![block, loss])).hint, None);
    }

    #[test]
    fn a_system_error_is_told_without_its_number() {
        let failure = Failure::system("The folder /x cannot be made", &std::io::Error::from_raw_os_error(13));
        assert_eq!(failure.sentence, "The folder /x cannot be made: Permission denied.");
    }
}
