//! What stands in the way of a freeze, and what would be lost by it, as it comes to light: first from outside, then from
//! what the tasks say of themselves.

use dormouse_wire::{Problem, Severity};

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

    /// Adds what was found, each thing once. With something that blocks the freeze ends here, and with losses that nobody
    /// has accepted: all of them are told.
    pub fn add(&mut self, found: Vec<Problem>) -> Result<(), FreezeError> {
        for problem in found {
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
        let blocked = self.problems.iter().any(|problem| problem.severity == Severity::Blocks);
        if blocked || !self.problems.is_empty() && !self.accept_losses {
            return Err(FreezeError::Refused(std::mem::take(&mut self.problems)));
        }
        Ok(())
    }
}
