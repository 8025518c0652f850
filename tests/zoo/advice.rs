//! What madvise(2) leaves on a mapping: each kind of advice that shows in VmFlags, and WIPEONFORK in a child.

use crate::kernel;
use crate::memory::Mapping;
use crate::stage::{Held, Stage};

const ADVICE: [(i32, &str); 8] = [
    (libc::MADV_DONTFORK, "dc"),
    (libc::MADV_DONTDUMP, "dd"),
    (libc::MADV_WIPEONFORK, "wf"),
    (libc::MADV_MERGEABLE, "mg"),
    (libc::MADV_HUGEPAGE, "hg"),
    (libc::MADV_NOHUGEPAGE, "nh"),
    (libc::MADV_SEQUENTIAL, "sr"),
    (libc::MADV_RANDOM, "rr"),
];

pub fn hold(stage: &mut Stage) -> Held {
    let mut mappings = Vec::new();
    for (number, (advice, flag)) in ADVICE.into_iter().enumerate() {
        let mapping = Mapping::anonymous(8)?;
        mapping.fill(number as u64);
        mapping.advise(advice)?;
        mappings.push((number as u64, mapping, flag));
    }
    stage.keeps(|wrong| {
        for (number, mapping, flag) in &mappings {
            wrong.holds(&format!("flag {flag}"), mapping.has_flag(flag));
            wrong.equal(&format!("first wrong page of {flag}"), mapping.first_wrong_page(*number), None);
        }
    })?;
    let wiped = mappings[2].1;
    let child = kernel::fork()?;
    if child == 0 {
        kernel::exit(i32::from(wiped.bytes().iter().any(|byte| *byte != 0)));
    }
    stage.wrong.gives("a child finds the memory wiped", kernel::wait_for(child), kernel::Ended::Code(0));
    Ok(())
}
