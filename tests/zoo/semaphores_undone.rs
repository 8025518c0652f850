//! The same semaphores as in `semaphores`: that nothing is undone any more must be announced.

use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    crate::semaphores::hold(stage)
}
