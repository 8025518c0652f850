//! MDWE: memory that was writable never becomes executable (PR_SET_MDWE, kernel 6.3).

use crate::kernel::prctl;
use crate::memory::Mapping;
use crate::stage::{Held, Stage, cannot};

const PR_SET_MDWE: i32 = 65;
const PR_GET_MDWE: i32 = 66;

pub fn hold(stage: &mut Stage) -> Held {
    let mapping = Mapping::anonymous(1)?;
    if let Err(error) = prctl(PR_SET_MDWE, &[1, 0, 0, 0]) {
        return cannot(format!("PR_SET_MDWE: {error}"));
    }
    stage.keeps(|wrong| {
        wrong.gives("PR_GET_MDWE", prctl(PR_GET_MDWE, &[0, 0, 0, 0]), 1);
        wrong.holds("it is denied", mapping.protect(libc::PROT_READ | libc::PROT_EXEC).is_err());
    })
}
