//! What stands in the way of a freeze, and what would be lost by it, as it comes to light: first from outside, then from
//! what the tasks say of themselves.

use dormouse_wire::{Problem, ProblemKind, Severity};

use crate::FreezeError;

/// All that was found until now.
#[derive(Debug)]
pub struct Verdict {
    /// Losses, once they are accepted.
    pub problems: Vec<Problem>,
    accept_losses: bool,
}

impl Verdict {
    /// Nothing was found yet.
    pub fn new(accept_losses: bool) -> Self {
        Self { problems: Vec::new(), accept_losses }
    }

    /// Adds what was found, each thing once.
    pub fn note(&mut self, found: Vec<Problem>) {
        for problem in found {
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
    }

    /// Whether the freeze ends here: something blocks it, or there are losses that nobody has accepted.
    pub fn refuses(&self) -> bool {
        let blocked = self.problems.iter().any(|problem| problem.severity == Severity::Blocks);
        blocked || !self.problems.is_empty() && !self.accept_losses
    }

    /// Whether the tasks can be asked about themselves: not those that may make no system calls, that could not come back
    /// from one, whose pids mean others where they live, or that are somebody else's.
    pub fn lets_ask(&self) -> bool {
        const KEEPS_FROM_ASKING: [ProblemKind; 6] = [
            ProblemKind::Confinement,
            ProblemKind::Namespace,
            ProblemKind::Process,
            ProblemKind::Processor,
            ProblemKind::Selection,
            ProblemKind::Tracer,
        ];
        let keeps =
            |problem: &Problem| problem.severity == Severity::Blocks && KEEPS_FROM_ASKING.contains(&problem.kind);
        !self.problems.iter().any(keeps)
    }

    /// All of it, as the freeze says it.
    pub fn refusal(&mut self) -> FreezeError {
        FreezeError::Refused(std::mem::take(&mut self.problems))
    }
}
