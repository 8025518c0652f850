//! Names of anonymous mappings, PR_SET_VMA_ANON_NAME (kernel 5.17, if it was built with them).

use crate::kernel::{at, prctl};
use crate::memory::Mapping;
use crate::stage::{Held, Stage, cannot};

const PR_SET_VMA: i32 = 0x5356_4d41;

pub fn hold(stage: &mut Stage) -> Held {
    let (one, two) = (Mapping::anonymous(4)?, Mapping::anonymous(4)?);
    for (mapping, name) in [(one, c"a name"), (two, c"another")] {
        mapping.fill(1);
        if let Err(error) = prctl(PR_SET_VMA, &[0, mapping.start, mapping.length, at(name.to_bytes_with_nul())]) {
            return cannot(format!("names of anonymous mappings: {error}"));
        }
    }
    stage.keeps(|wrong| {
        for (mapping, name) in [(one, "[anon:a name]"), (two, "[anon:another]")] {
            wrong.holds(name, mapping.smaps().first().is_some_and(|line| line.ends_with(name)));
            wrong.equal("content", mapping.first_wrong_page(1), None);
        }
    })
}
