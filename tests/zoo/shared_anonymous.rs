//! Shared anonymous memory of a parent and its child: one object, and what one writes the other reads.

use crate::kernel;
use crate::memory::{Mapping, READ_WRITE};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let shared = Mapping::new(32 * 4096, READ_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0)?;
    shared.part(8, 24).fill(3);
    let child = stage.child(|stage| {
        stage
            .keeps(|wrong| wrong.equal("the child's first wrong page", shared.part(8, 24).first_wrong_page(3), None))?;
        stage.wrong.holds("the parent's word comes to the child", kernel::until(|| shared.bytes()[0] == 42));
        shared.write(1, &[43]);
        Ok(())
    })?;
    stage.keeps(|wrong| {
        wrong.equal("the parent's first wrong page", shared.part(8, 24).first_wrong_page(3), None);
        wrong.equal("sharing", shared.letters(), "rw-s".to_owned());
    })?;
    shared.write(0, &[42]);
    stage.join(child);
    stage.wrong.equal("the child's word comes to the parent", shared.bytes()[1], 43);
    Ok(())
}
