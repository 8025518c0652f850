//! mlockall(2) with MCL_FUTURE: what is mapped after the thaw is locked too; in a child, only when it is faulted in.

use crate::kernel::call;
use crate::memory::Mapping;
use crate::stage::{Held, Stage};

const MCL_FUTURE: usize = 2;
const MCL_ONFAULT: usize = 4;

pub fn hold(stage: &mut Stage) -> Held {
    let child = stage.child(|stage| {
        call(libc::SYS_mlockall, &[MCL_FUTURE | MCL_ONFAULT])?;
        stage.keeps(|wrong| match Mapping::anonymous(4) {
            Ok(new) => {
                wrong.holds("a new mapping is locked", new.has_flag("lo"));
                wrong.equal("and not resident", new.smaps_line("Rss"), "0 kB".to_owned());
                let _ = call(libc::SYS_munmap, &[new.start, new.length]);
            }
            Err(error) => wrong.say(error.to_string()),
        })
    })?;
    call(libc::SYS_mlockall, &[MCL_FUTURE])?;
    stage.keeps(|wrong| match Mapping::anonymous(4) {
        Ok(new) => {
            wrong.holds("a new mapping is locked", new.has_flag("lo"));
            wrong.equal("and resident at once", new.smaps_line("Rss"), "16 kB".to_owned());
            let _ = call(libc::SYS_munmap, &[new.start, new.length]);
        }
        Err(error) => wrong.say(error.to_string()),
    })?;
    stage.join(child);
    Ok(())
}
