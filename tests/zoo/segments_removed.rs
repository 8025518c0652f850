//! System V shared memory that was removed while it was attached: it goes with the freeze, and comes back as it was.

use crate::kernel::call;
use crate::segments_attached::{PAGE, attached, byte, remove, segment, set_byte};
use crate::stage::{Held, Stage};

fn is_known(id: usize) -> bool {
    let table = std::fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    table.lines().any(|line| line.split_whitespace().nth(1) == Some(id.to_string().as_str()))
}

pub fn hold(stage: &mut Stage) -> Held {
    let key = 0x0e00_0000 | std::process::id() as i32;
    let id = segment(key, 50 * PAGE, 0o600)?;
    let address = attached(id, 0)?;
    for page in [0, 7, 49] {
        set_byte(address, page * PAGE + 5, page as u8 + 1);
    }
    remove(id)?;
    stage.keeps(|wrong| {
        let pages = [0, 7, 49, 3].map(|page| byte(address, page * PAGE + 5));
        wrong.equal("its pages", pages, [1, 8, 50, 0]);
        wrong.holds("it is there", is_known(id));
        let found = call(libc::SYS_shmget, &[key as usize, 0, 0]).map_err(|error| error.raw_os_error());
        wrong.equal("its key leads nowhere", found, Err(Some(libc::ENOENT)));
    })?;
    call(libc::SYS_shmdt, &[address])?;
    stage.wrong.holds("it has gone with its last attachment", !is_known(id));
    Ok(())
}
