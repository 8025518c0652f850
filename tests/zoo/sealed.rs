//! A sealed mapping (mseal, Linux 6.10), and one beside it that is not.

use crate::kernel::call;
use crate::memory::{Mapping, READ_WRITE};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    const MSEAL: i64 = 462;
    let all = Mapping::anonymous(6)?;
    all.fill(9);
    let (sealed, open) = (all.part(0, 3), all.part(3, 3));
    sealed.protect(libc::PROT_READ)?;
    if let Err(error) = call(MSEAL, &[sealed.start, sealed.length, 0]) {
        return cannot(format!("mseal: {error}"));
    }
    stage.keeps(|wrong| {
        wrong.equal("first wrong page", all.first_wrong_page(9), None);
        wrong.holds("it is sealed", sealed.protect(READ_WRITE).is_err());
        wrong.holds("the other one is not", open.protect(READ_WRITE).is_ok());
    })
}
