//! Shared anonymous memory of huge pages (hugetlb), of which a child sees the same.

use crate::memory::{Mapping, READ_WRITE};
use crate::stage::{Held, Stage};

const HUGE: usize = 2 << 20;

pub fn hold(stage: &mut Stage) -> Held {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB;
    let shared = Mapping::new(3 * HUGE, READ_WRITE, flags, -1, 0)?;
    shared.part(0, 512).fill(1);
    shared.write(2 * HUGE + 5, b"five");
    let child = stage.child(|stage| {
        stage.keeps(|wrong| {
            wrong.equal("the same", shared.part(0, 512).first_wrong_page(1), None);
            wrong.equal("the same bytes", &shared.bytes()[2 * HUGE + 5..2 * HUGE + 9], b"five");
        })?;
        shared.write(HUGE, b"from the child");
        Ok(())
    })?;
    stage.keeps(|wrong| {
        wrong.holds("hugetlb", shared.has_flag("ht") && shared.has_flag("sh"));
        wrong.equal("filled", shared.part(0, 512).first_wrong_page(1), None);
        wrong.equal("bytes", &shared.bytes()[2 * HUGE + 4..2 * HUGE + 10], b"\0five\0");
    })?;
    stage.join(child);
    stage.wrong.equal("what the child has written since", &shared.bytes()[HUGE..HUGE + 14], b"from the child");
    Ok(())
}
