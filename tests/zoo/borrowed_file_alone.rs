//! A mapping of a file that nobody in the group may open any more.

use crate::borrowed_file::{become_somebody_else, map};
use crate::memory::PAGE;
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let mapping = map(stage)?;
    become_somebody_else()?;
    mapping.write(PAGE, b"written before");
    stage.keeps(|wrong| {
        wrong.equal("what was written", &mapping.bytes()[PAGE..PAGE + 14], b"written before".as_slice());
    })
}
