//! Locked memory: mlock, mlock2 with MLOCK_ONFAULT, and how much of it there is.

use crate::kernel::{call, status};
use crate::memory::Mapping;
use crate::stage::{Held, Stage};

const MLOCK_ONFAULT: usize = 1;

pub fn hold(stage: &mut Stage) -> Held {
    let locked = Mapping::anonymous(8)?;
    call(libc::SYS_mlock, &[locked.start, locked.length])?;
    locked.fill(1);
    let on_fault = Mapping::anonymous(64)?;
    call(libc::SYS_mlock2, &[on_fault.start, on_fault.length, MLOCK_ONFAULT])?;
    on_fault.part(0, 2).fill(2);
    stage.keeps(|wrong| {
        wrong.holds("locked", locked.has_flag("lo"));
        wrong.holds("locked on fault", on_fault.has_flag("lo"));
        wrong.equal("resident, locked", locked.smaps_line("Rss"), "32 kB".to_owned());
        wrong.equal("resident, locked on fault", on_fault.smaps_line("Rss"), "8 kB".to_owned());
        wrong.equal("VmLck", status("/proc/self/status", "VmLck"), "288 kB".to_owned());
        wrong.equal("content", (locked.first_wrong_page(1), on_fault.part(0, 2).first_wrong_page(2)), (None, None));
    })
}
