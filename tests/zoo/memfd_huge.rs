//! A memory file of huge pages: it is refused.

use crate::descriptors::owned;
use crate::kernel::{at, call};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    let name = c"huge";
    let made = call(libc::SYS_memfd_create, &[at(name.to_bytes_with_nul()), libc::MFD_HUGETLB as usize]);
    let Ok(made) = made else { return cannot(format!("no memory files of huge pages: {made:?}")) };
    let file = owned(made);
    stage.keeps(|wrong| wrong.holds("it is open", crate::descriptors::fcntl(&file, libc::F_GETFD, 0).is_ok()))
}
