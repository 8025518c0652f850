//! A tebibyte that is only reserved, with a few pages in use far apart: its time and its image must not grow with it.

use crate::memory::{ANONYMOUS, Mapping, PAGE, READ_WRITE};
use crate::stage::{Held, Stage};

const PAGES: usize = 1 << 28;
const USED: [usize; 4] = [0, 12_345, 100_000_000, PAGES - 1];

pub fn hold(stage: &mut Stage) -> Held {
    let all = Mapping::new(PAGES * PAGE, libc::PROT_NONE, ANONYMOUS | libc::MAP_NORESERVE, -1, 0)?;
    let used = USED.map(|page| all.part(page, 1));
    for page in used {
        page.protect(READ_WRITE)?;
        page.fill(page.start as u64);
    }
    stage.keeps(|wrong| {
        for page in used {
            wrong.equal("content", page.first_wrong_page(page.start as u64), None);
            wrong.equal("protection", page.letters(), "rw-p".to_owned());
        }
        wrong.equal("protection between", all.part(50_000_000, 1).letters(), "---p".to_owned());
        wrong.holds("nothing is reserved", all.part(50_000_000, 1).has_flag("nr"));
    })
}
