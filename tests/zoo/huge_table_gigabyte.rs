//! Memory of one huge page of a gigabyte, where the machine has such.

use crate::memory::{ANONYMOUS, Mapping, READ_WRITE};
use crate::stage::{Held, Stage};

const HUGE: usize = 1 << 30;

pub fn hold(stage: &mut Stage) -> Held {
    let flags = ANONYMOUS | libc::MAP_HUGETLB | libc::MAP_HUGE_1GB;
    let mapping = Mapping::new(HUGE, READ_WRITE, flags, -1, 0)?;
    mapping.part(1000, 600).fill(1);
    mapping.write(HUGE - 3, b"end");
    stage.keeps(|wrong| {
        wrong.holds("hugetlb", mapping.has_flag("ht"));
        wrong.equal("its pages", mapping.smaps_line("KernelPageSize"), "1048576 kB".to_owned());
        wrong.equal("filled", mapping.part(1000, 600).first_wrong_page(1), None);
        wrong.equal("around it", &mapping.bytes()[1600 * 4096..1600 * 4096 + 2], b"\0\0");
        wrong.equal("its end", &mapping.bytes()[HUGE - 4..], b"\0end");
    })
}
