//! A child that has the ring of its parent's asynchronous I/O, and no context behind it: the engine must refuse it by name.

use crate::asynchronous_io::made;
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let context = made(8)?;
    let child = stage.child(move |stage| {
        stage.ready_and_wait()?;
        stage.wrong.holds("it is no context", context.take(1).is_err());
        Ok(())
    })?;
    stage.ready_and_wait()?;
    stage.join(child);
    Ok(())
}
