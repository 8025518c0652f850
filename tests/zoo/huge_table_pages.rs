//! Memory of huge pages that the machine has set aside (hugetlb): private, with holes and protections, and shared with a child
//! until one of them writes.

use crate::kernel::call;
use crate::memory::{ANONYMOUS, Mapping, READ_WRITE};
use crate::stage::{Held, Stage};

const HUGE: usize = 2 << 20;

fn huge(pages: usize, flags: i32) -> std::io::Result<Mapping> {
    Mapping::new(pages * HUGE, READ_WRITE, ANONYMOUS | libc::MAP_HUGETLB | libc::MAP_HUGE_2MB | flags, -1, 0)
}

fn page(mapping: &Mapping, number: usize) -> Mapping {
    Mapping { start: mapping.start + number * HUGE, length: HUGE }
}

pub fn hold(stage: &mut Stage) -> Held {
    let mapping = huge(4, 0)?;
    page(&mapping, 0).fill(1);
    // The second one is never touched, the third holds a few bytes, the fourth cannot be written any more.
    page(&mapping, 2).write(HUGE - 3, b"end");
    page(&mapping, 3).fill(4);
    page(&mapping, 3).protect(libc::PROT_READ)?;
    let hidden = huge(1, 0)?;
    hidden.fill(5);
    hidden.protect(libc::PROT_NONE)?;
    let unreserved = huge(64, libc::MAP_NORESERVE)?;
    page(&unreserved, 40).fill(6);
    let inherited = huge(2, 0)?;
    inherited.fill(7);
    let child = stage.child(|stage| {
        page(&inherited, 1).fill(8);
        stage.keeps(|wrong| {
            wrong.equal("what is the parent's too", page(&inherited, 0).first_wrong_page(7), None);
            wrong.equal("what is the child's", page(&inherited, 1).first_wrong_page(8), None);
            wrong.equal("what the parent has filled", page(&mapping, 0).first_wrong_page(1), None);
        })
    })?;
    stage.keeps(|wrong| {
        wrong.holds("hugetlb", mapping.has_flag("ht") && page(&mapping, 3).has_flag("ht") && hidden.has_flag("ht"));
        wrong.equal("filled", page(&mapping, 0).first_wrong_page(1), None);
        wrong.equal("the last bytes", &page(&mapping, 2).bytes()[HUGE - 4..], b"\0end");
        wrong.equal("read only", page(&mapping, 3).first_wrong_page(4), None);
        wrong.equal("without room put by", page(&unreserved, 40).first_wrong_page(6), None);
        wrong.equal("what the child has changed for itself", inherited.first_wrong_page(7), None);
    })?;
    stage.join(child);
    stage.wrong.holds("never touched", page(&mapping, 1).bytes().iter().all(|byte| *byte == 0));
    page(&mapping, 1).fill(2);
    stage.wrong.equal("and written now", page(&mapping, 1).first_wrong_page(2), None);
    let protected = call(libc::SYS_mprotect, &[hidden.start, HUGE, libc::PROT_READ as usize]);
    stage.wrong.gives("shown again", protected, 0);
    stage.wrong.equal("hidden", hidden.first_wrong_page(5), None);
    Ok(())
}
