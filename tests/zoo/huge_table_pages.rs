//! Memory of hugetlb pages, which the machine has set aside: the engine refuses it by name.

use crate::memory::{ANONYMOUS, Mapping, READ_WRITE};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    let mapping = match Mapping::new(2 << 20, READ_WRITE, ANONYMOUS | libc::MAP_HUGETLB, -1, 0) {
        Ok(mapping) => mapping,
        Err(error) => return cannot(format!("hugetlb pages: {error}")),
    };
    mapping.fill(1);
    stage.keeps(|wrong| {
        wrong.holds("hugetlb", mapping.has_flag("ht"));
        wrong.equal("content", mapping.first_wrong_page(1), None);
    })
}
