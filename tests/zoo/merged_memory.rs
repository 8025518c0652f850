//! All pages of a process are merged with equal ones (PR_SET_MEMORY_MERGE, Linux 6.4).

use crate::kernel::prctl;
use crate::memory::Mapping;
use crate::stage::{Held, Stage, cannot};

const SET: i32 = 67;
const GET: i32 = 68;

pub fn hold(stage: &mut Stage) -> Held {
    let before = Mapping::anonymous(4)?;
    before.fill(1);
    if let Err(error) = prctl(SET, &[1, 0, 0, 0]) {
        return cannot(format!("PR_SET_MEMORY_MERGE: {error}"));
    }
    stage.keeps(|wrong| {
        wrong.gives("PR_GET_MEMORY_MERGE", prctl(GET, &[0, 0, 0, 0]), 1);
        wrong.holds("flag mg", before.has_flag("mg"));
        wrong.holds("flag mg of a new mapping", Mapping::anonymous(3).is_ok_and(|mapping| mapping.has_flag("mg")));
    })
}
