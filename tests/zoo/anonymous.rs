//! Private anonymous memory: written pages, pages never touched, and pages that hold zeros.

use crate::memory::{Mapping, PAGE};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let written = Mapping::anonymous(700)?;
    written.fill(11);
    let sparse = Mapping::anonymous(4096)?;
    for page in (0..4096).step_by(97) {
        sparse.part(page, 1).fill(page as u64);
    }
    let zeros = Mapping::anonymous(16)?;
    zeros.write(0, &vec![0; 16 * PAGE]);
    stage.keeps(|wrong| {
        wrong.equal("first wrong page of the written ones", written.first_wrong_page(11), None);
        let right = |page: &usize| match page % 97 {
            0 => sparse.part(*page, 1).first_wrong_page(*page as u64).is_none(),
            _ => sparse.part(*page, 1).bytes().iter().all(|byte| *byte == 0),
        };
        wrong.equal("first wrong page of the sparse ones", (0..4096).find(|page| !right(page)), None);
        wrong.holds("zeros are zero", zeros.bytes().iter().all(|byte| *byte == 0));
    })
}
