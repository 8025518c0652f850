//! Names that a process gives itself: strange bytes in comm, and an argument area that says something else.

use std::fs;

use crate::kernel::{at, prctl};
use crate::stage::{Held, Stage};
use crate::workers::Workers;

const NAME: &[u8] = b"a) R (b\n\xff \\\0";

pub fn hold(stage: &mut Stage) -> Held {
    let set = |_| prctl(libc::PR_SET_NAME, &[at(c"".to_bytes_with_nul())]).is_ok();
    let workers = Workers::start(1, set, |_| {
        fs::read(format!("/proc/self/task/{}/comm", crate::kernel::tid())).is_ok_and(|name| name == b"\n")
    })?;
    prctl(libc::PR_SET_NAME, &[at(NAME)])?;
    let stat = fs::read_to_string("/proc/self/stat")
        .map_or_else(|_| fs::read("/proc/self/stat"), |text| Ok(text.into_bytes()))?;
    let text = String::from_utf8_lossy(&stat).into_owned();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let arguments: usize = fields[45].parse()?;
    // SAFETY: the argument area is the process's own and writable; four bytes of the program's path are replaced.
    unsafe { std::ptr::copy_nonoverlapping(b"ZOO!".as_ptr(), arguments as *mut u8, 4) };
    stage.keeps(|wrong| {
        wrong.gives("comm", fs::read("/proc/self/comm"), b"a) R (b\n\xff \\\n".to_vec());
        wrong.holds("cmdline", fs::read("/proc/self/cmdline").is_ok_and(|line| line.starts_with(b"ZOO!")));
        workers.look(wrong, "an empty name, thread");
    })
}
