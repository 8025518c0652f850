//! How the processor treats a thread: no time stamps (PR_SET_TSC), machine checks told early (PR_MCE_KILL), and the store
//! bypass forbidden where it can be (PR_SET_SPECULATION_CTRL); another thread has none of it.

use crate::kernel::{into, prctl};
use crate::stage::{Held, Stage};
use crate::workers::Workers;

const GET_SPECULATION: i32 = 52;
const SET_SPECULATION: i32 = 53;
const CAN: i64 = 1;
const DISABLE: usize = 1 << 2;

fn time_stamps() -> i32 {
    let mut answer = 0_i32;
    prctl(libc::PR_GET_TSC, &[into(&mut answer)]).map_or(-1, |_| answer)
}

fn speculation() -> i64 {
    prctl(GET_SPECULATION, &[0, 0, 0, 0]).unwrap_or(0)
}

pub fn hold(stage: &mut Stage) -> Held {
    let set = |number: usize| {
        number == 1
            || prctl(libc::PR_MCE_KILL, &[libc::PR_MCE_KILL_SET as usize, libc::PR_MCE_KILL_EARLY as usize, 0, 0])
                .is_ok()
                && (speculation() & CAN == 0 || prctl(SET_SPECULATION, &[0, DISABLE, 0, 0]).is_ok())
                && prctl(libc::PR_SET_TSC, &[libc::PR_TSC_SIGSEGV as usize]).is_ok()
    };
    let look = |number: usize| {
        let chosen = speculation() & CAN == 0 || (speculation() & DISABLE as i64 != 0) == (number == 0);
        let (stamps, check) =
            [(libc::PR_TSC_SIGSEGV, libc::PR_MCE_KILL_EARLY), (libc::PR_TSC_ENABLE, libc::PR_MCE_KILL_DEFAULT)][number];
        chosen && time_stamps() == stamps && prctl(libc::PR_MCE_KILL_GET, &[0, 0, 0, 0]).ok() == Some(i64::from(check))
    };
    let workers = Workers::start(2, set, look)?;
    stage.keeps(|wrong| workers.look(wrong, "what thread was told"))
}
