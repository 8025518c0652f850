//! What the scheduler knows about a thread: `/proc/PID/task/TID/sched`, Documentation/scheduler/sched-debug.rst and
//! `proc_sched_show_task` in kernel/sched/debug.c. Before 6.15 the file needs a kernel with `CONFIG_SCHED_DEBUG`.

use super::text;

/// `se.exec_start`: when the thread was last given the processor, or looked at while it had it, in nanoseconds of its
/// processor's clock. It stands still while a thread does not run. `None` where the file does not say.
pub fn exec_start(bytes: &[u8]) -> Option<u64> {
    // The first line holds the command name, line feeds and all; it is too short for a whole line of its own.
    text::lines(bytes).find_map(|line| {
        let (key, value) = text::split_once(line, b':')?;
        (key.trim_ascii_end() == b"se.exec_start").then(|| nanoseconds(value.trim_ascii()))?
    })
}

/// `MILLISECONDS.NANOSECONDS`, the latter six digits.
fn nanoseconds(value: &[u8]) -> Option<u64> {
    let (milliseconds, fraction) = text::split_once(value, b'.')?;
    let fraction = if fraction.len() == 6 { text::decimal(fraction)? } else { return None };
    text::decimal::<u64>(milliseconds)?.checked_mul(1_000_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::{self, ProcError};

    #[test]
    fn the_time_is_read_to_the_nanosecond() {
        let text = b"head (8026, #threads: 1)\n---------\nse.exec_start                                :       1374635.054996\n\
            se.vruntime                                  :         18568.605391\n";
        assert_eq!(exec_start(text), Some(1_374_635_054_996));
    }

    #[test]
    fn a_kernel_may_not_say_it() {
        assert_eq!(exec_start(b"head (8026, #threads: 1)\n---\nse.vruntime   :  1.605391\n"), None);
        assert_eq!(exec_start(b""), None);
    }

    #[test]
    fn a_command_name_cannot_lie_about_it() {
        let text = b"\nse.exec_start: (1, #threads: 1)\n---\nse.exec_start    :    2.000001\n";
        assert_eq!(exec_start(text), Some(2_000_001));
        let text = b"\nse.exec_start:1 (1, #threads: 1)\n---\nse.exec_start    :    2.000001\n";
        assert_eq!(exec_start(text), Some(2_000_001));
    }

    #[test]
    fn the_file_of_this_thread_can_be_read() -> Result<(), ProcError> {
        let me = dormouse_wire::Pid(std::process::id() as i32);
        match proc::read_thread(me, me.leader(), "sched") {
            Err(ProcError::Missing { .. }) => {}
            bytes => assert!(exec_start(&bytes?).is_some()),
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, value in "[0-9.-]{0,40}") {
            let _ = (exec_start(&bytes), exec_start(format!("se.exec_start :{value}").as_bytes()));
        }
    }
}
