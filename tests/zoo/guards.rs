//! PROT_NONE pages between pages that are used, one of them with something in it that nobody may read now.

use crate::memory::{Mapping, PAGE, READ_WRITE};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let all = Mapping::anonymous(9)?;
    let (first, never_used, middle, used, last) =
        (all.part(0, 2), all.part(2, 1), all.part(3, 2), all.part(5, 2), all.part(7, 2));
    for part in [first, middle, used, last] {
        part.fill(part.start as u64);
    }
    never_used.protect(libc::PROT_NONE)?;
    used.protect(libc::PROT_NONE)?;
    let mut pipe = [0; 2];
    // SAFETY: `pipe` lives through the call.
    crate::kernel::checked(unsafe { libc::pipe(pipe.as_mut_ptr()) })?;
    stage.keeps(|wrong| {
        for (name, part) in [("first", first), ("middle", middle), ("last", last)] {
            wrong.equal(name, part.first_wrong_page(part.start as u64), None);
        }
        for (name, part) in [("never used", never_used), ("used", used)] {
            wrong.equal(name, part.letters(), "---p".to_owned());
            // SAFETY: the kernel finds the page unreadable and says EFAULT.
            let written = unsafe { libc::write(pipe[1], part.start as *const libc::c_void, 1) };
            wrong.equal("the kernel reads a guard", written, -1);
        }
    })?;
    used.protect(READ_WRITE)?;
    stage.wrong.equal("what was behind the guard", used.first_wrong_page(used.start as u64), None);
    never_used.protect(READ_WRITE)?;
    stage.wrong.equal("the page never used", never_used.bytes(), [0; PAGE].as_slice());
    Ok(())
}
