//! Contexts for asynchronous I/O: nothing may be under way in them when memory is read.

use std::time::Duration;

use dormouse_wire::{Problem, ProblemKind, phrase};

use super::stopped::{Stopped, StoppedProcess};
use super::tasks::{self, Answers};
use crate::puppet::PuppetError;
use crate::resource::memory::ring::{self, Settled};
use crate::survey::collect::{LivingFacts, ProcessFacts};

/// How long a freeze waits for requests that are under way.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How long a look at a group does.
pub const A_MOMENT: Duration = Duration::from_millis(200);

/// Whether anybody has some.
pub fn has_any(facts: &[ProcessFacts]) -> bool {
    facts.iter().filter_map(|found| found.living.as_ref()).any(|living| living.mappings.iter().any(ring::is_one))
}

/// Lets all requests come to their end, and notes what is done and unread with what each process has said. Answers what
/// stands in the way.
pub fn settle(
    stopped: &mut Stopped,
    facts: &[ProcessFacts],
    answers: &mut [Option<Answers>],
    patience: Duration,
) -> Result<Vec<Problem>, Problem> {
    let mut problems = Vec::new();
    let (running, _) = stopped.parts();
    for ((process, found), answers) in running.iter_mut().zip(facts).zip(answers) {
        let (Some(living), Some(answers)) = (&found.living, answers) else { continue };
        let said =
            of_process(process, living, answers, patience).map_err(|error| tasks::unwilling(&error, &found.shown))?;
        problems.extend(said.into_iter().map(|problem| problem.of(&found.shown)));
    }
    Ok(problems)
}

fn of_process(
    process: &mut StoppedProcess,
    living: &LivingFacts,
    answers: &mut Answers,
    patience: Duration,
) -> Result<Vec<Problem>, PuppetError> {
    let mut problems = Vec::new();
    for found in living.mappings.iter().filter(|found| ring::is_one(found)) {
        if answers
            .memory
            .0
            .rings
            .iter()
            .any(|(start, call)| *start == found.start && answers.memory.1.result(*call).is_err())
        {
            continue;
        }
        let (Some((stage, _)), Some(puppet)) = (process.stage, process.puppets.first_mut()) else { continue };
        let what = match ring::settle(puppet, &stage, (found.start, found.end), patience)? {
            Settled::Quiet(ring) => {
                answers.memory.0.settled.push(ring);
                continue;
            }
            Settled::Busy => {
                phrase!("requests of asynchronous I/O (io_submit) are under way in it that do not come to their end")
            }
            Settled::Odd => phrase!("its context for asynchronous I/O (io_setup) is not as the kernel made it"),
        };
        let problem = Problem::blocks(ProblemKind::Memory, what)
            .at(phrase!("mapping {start} of /[aio]", start = format_args!("{:x}", found.start)));
        problems.push(problem.way_out(phrase!("Try again when they are done, or pause the group instead")));
    }
    tasks::leave_confined(process)?;
    Ok(problems)
}
