//! Pages of a mapping that nobody may touch, without being mappings of their own (MADV_GUARD_INSTALL, Linux 6.13).

use crate::kernel::{Ended, exit, fork, wait_for};
use crate::memory::Mapping;
use crate::stage::{Held, Stage, cannot};

const MADV_GUARD_INSTALL: i32 = 102;
const MADV_GUARD_REMOVE: i32 = 103;

/// A child that touches the page: that must end it.
fn touched(page: Mapping) -> std::io::Result<Ended> {
    let child = fork()?;
    if child == 0 {
        exit(i32::from(page.bytes()[0]));
    }
    wait_for(child)
}

pub fn hold(stage: &mut Stage) -> Held {
    let (used, untouched) = (Mapping::anonymous(8)?, Mapping::anonymous(4)?);
    used.fill(3);
    if let Err(error) = used.part(2, 2).advise(MADV_GUARD_INSTALL) {
        return cannot(format!("MADV_GUARD_INSTALL: {error}"));
    }
    untouched.part(0, 1).advise(MADV_GUARD_INSTALL)?;
    stage.keeps(|wrong| {
        wrong.equal("before the guard", used.part(0, 2).first_wrong_page(3), None);
        for (name, page) in [("first", used.part(2, 1)), ("second", used.part(3, 1)), ("third", untouched.part(0, 1))] {
            wrong.gives(name, touched(page), Ended::Signal(libc::SIGSEGV));
        }
        wrong.equal("one mapping", untouched.letters(), "rw-p".to_owned());
    })?;
    used.part(2, 2).advise(MADV_GUARD_REMOVE)?;
    stage.wrong.equal("behind the guard", used.part(2, 2).bytes().iter().any(|byte| *byte != 0), false);
    Ok(())
}
