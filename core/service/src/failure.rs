//! What the engine's failures come to: a sentence, and the reasons.

use dormouse_engine::{FreezeError, PauseError, ResumeError, ThawError};
use dormouse_wire::dbus::Failure;
use dormouse_wire::{Phrase, Problem, ProblemKind, Severity, phrase};

fn failure(sentence: Phrase, problems: Vec<Problem>) -> Failure {
    Failure { sentence, problems }
}

/// Of a freeze.
pub fn of_freeze(error: FreezeError) -> Failure {
    match error {
        FreezeError::Refused(problems) if only_losses(&problems) => {
            failure(phrase!("The group has not been frozen, because something would be lost; it runs on."), problems)
        }
        FreezeError::Refused(problems) => failure(phrase!("The group cannot be frozen; it runs on."), problems),
        FreezeError::Failed(problem) if problem.kind == ProblemKind::Selection => {
            failure(phrase!("Nothing has been frozen."), vec![*problem])
        }
        FreezeError::Failed(problem) => failure(phrase!("The freeze has failed; the group runs on."), vec![*problem]),
        FreezeError::Cancelled => {
            failure(phrase!("The freeze has been undone; the group runs on, and there is no image."), Vec::new())
        }
    }
}

/// Of a thaw.
pub fn of_thaw(error: ThawError) -> Failure {
    match error {
        ThawError::Refused(problems) => failure(phrase!("The image cannot be thawed here; it is unchanged."), problems),
        ThawError::Failed(problem) => failure(phrase!("The thaw has failed; the image is unchanged."), vec![*problem]),
        ThawError::Cancelled => failure(
            phrase!("The thaw has been undone; no process of it is left, and the image is unchanged."),
            Vec::new(),
        ),
    }
}

/// Of a pause.
pub fn of_pause(error: PauseError) -> Failure {
    match error {
        PauseError::Refused(problems) => failure(phrase!("The group cannot be paused; nothing has changed."), problems),
        PauseError::Failed(problem) => failure(phrase!("The pause has failed; the group runs on."), vec![*problem]),
    }
}

/// Of a resume.
pub fn of_resume(error: ResumeError) -> Failure {
    match error {
        ResumeError::Refused(problems) => {
            failure(phrase!("The group cannot be resumed; nothing has changed."), problems)
        }
        ResumeError::Failed(problem) => failure(phrase!("Not all of the group could be resumed."), vec![*problem]),
    }
}

/// Whether a freeze would go on, were losses accepted.
pub fn only_losses(problems: &[Problem]) -> bool {
    !problems.is_empty() && problems.iter().all(|problem| problem.severity == Severity::Loses)
}
