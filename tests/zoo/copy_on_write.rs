//! Memory that a child shares with its parent until one of them writes: it must be shared after the thaw too.

use crate::kernel;
use crate::memory::Mapping;
use crate::stage::{Held, Stage, Wrong};

const PAGES: usize = 512;
/// Pages that the child has written, at the front.
const WRITTEN: usize = 12;

/// The sum over pages of 1/(processes that share it), in kB, as smaps tells it; nearly half when all is shared by two.
fn proportional(mapping: &Mapping) -> u64 {
    mapping.smaps_line("Pss").trim_end_matches(" kB").parse().unwrap_or(u64::MAX)
}

fn is_shared(wrong: &mut Wrong, whose: &str, mapping: &Mapping) {
    let (shared, own) = ((PAGES - WRITTEN) as u64 * 4 / 2, WRITTEN as u64 * 4);
    let found = proportional(mapping);
    wrong.holds(&format!("{whose} memory is shared (Pss {found} kB)"), found <= shared + own + 64);
}

pub fn hold(stage: &mut Stage) -> Held {
    let memory = Mapping::anonymous(PAGES)?;
    memory.fill(1);
    let child = stage.child(|stage| {
        memory.part(0, WRITTEN).fill(2);
        stage.ready_and_wait()?;
        is_shared(&mut stage.wrong, "the child's", &memory);
        stage.wrong.equal("the child's own pages", memory.part(0, WRITTEN).first_wrong_page(2), None);
        let word = memory.bytes()[WRITTEN * 4096..WRITTEN * 4096 + 8].to_vec();
        std::fs::write(stage.path("looked"), word)?;
        let looked = stage.path("parent looked");
        stage.wrong.holds("the parent looks too", kernel::until(|| looked.exists()));
        Ok(())
    })?;
    is_shared(&mut stage.wrong, "the parent's", &memory);
    stage.ready_and_wait()?;
    let looked = stage.path("looked");
    stage.wrong.holds("the child looks first", kernel::until(|| looked.exists()));
    is_shared(&mut stage.wrong, "the parent's", &memory);
    stage.wrong.equal("the parent's pages", memory.first_wrong_page(1), None);
    memory.part(PAGES - 1, 1).fill(3);
    std::fs::write(stage.path("parent looked"), "")?;
    stage.join(child);
    Ok(())
}
