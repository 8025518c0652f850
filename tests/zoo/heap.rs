//! The heap that brk(2) moves: where it begins, where it ends, what is in it, and that it still grows.

use crate::kernel::call;
use crate::memory::{Mapping, PAGE};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    // Beyond what the allocator has taken; it finds that the break has moved and takes memory elsewhere.
    let before = call(libc::SYS_brk, &[0])? as usize;
    let start = before.next_multiple_of(PAGE);
    let end = start + 64 * PAGE;
    let moved = call(libc::SYS_brk, &[end])? as usize;
    stage.wrong.equal("the break after moving it", moved, end);
    let heap = Mapping { start, length: 64 * PAGE };
    heap.fill(8);
    stage.keeps(|wrong| {
        wrong.equal("first wrong page", heap.first_wrong_page(8), None);
        wrong.holds("it is the heap", heap.smaps().first().is_some_and(|line| line.ends_with("[heap]")));
    })?;
    let now = call(libc::SYS_brk, &[0])? as usize;
    stage.wrong.holds("the break is where it was, or an allocation moved it on", now >= end);
    let grown = call(libc::SYS_brk, &[now + 16 * PAGE])? as usize;
    stage.wrong.equal("the heap still grows", grown, now + 16 * PAGE);
    Mapping { start: now.next_multiple_of(PAGE), length: 8 * PAGE }.fill(9);
    Ok(())
}
