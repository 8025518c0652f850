//! Files of `/proc/PID` that hold a single number: proc_pid_personality(5), proc_pid_coredump_filter(5),
//! proc_pid_timerslack_ns(5), proc_pid_oom_score_adj(5), proc_pid_loginuid(5).

use super::text::{self, Unreadable};

/// `personality`: the execution domain and its flags, personality(2).
pub fn personality(bytes: &[u8]) -> Result<u32, Unreadable> {
    number(bytes, |word| text::hexadecimal(word)?.try_into().ok())
}

/// `coredump_filter`: which mappings a core dump holds, core(5). The file is empty for a process without memory, which
/// is `None`.
pub fn coredump_filter(bytes: &[u8]) -> Result<Option<u32>, Unreadable> {
    if bytes.is_empty() {
        return Ok(None);
    }
    number(bytes, |word| text::hexadecimal(word)?.try_into().ok()).map(Some)
}

/// `timerslack_ns`: how late a timer may be, in nanoseconds; 0 for real-time threads. `PR_SET_TIMERSLACK`.
pub fn timerslack_ns(bytes: &[u8]) -> Result<u64, Unreadable> {
    number(bytes, text::decimal)
}

/// `oom_score_adj`: -1000 to 1000, the higher the earlier the process is killed when memory is short.
pub fn oom_score_adj(bytes: &[u8]) -> Result<i32, Unreadable> {
    number(bytes, text::decimal)
}

/// `loginuid`: the user whose login it comes from; `None` for no login.
pub fn loginuid(bytes: &[u8]) -> Result<Option<u32>, Unreadable> {
    number(bytes, text::decimal).map(unless_unset)
}

/// `sessionid`: the number of that login; `None` for no login.
pub fn sessionid(bytes: &[u8]) -> Result<Option<u32>, Unreadable> {
    number(bytes, text::decimal).map(unless_unset)
}

fn number<T>(bytes: &[u8], parse: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, Unreadable> {
    parse(bytes.trim_ascii()).ok_or_else(|| Unreadable::line(bytes))
}

/// The kernel shows -1 as an unsigned number.
fn unless_unset(id: u32) -> Option<u32> {
    (id != u32::MAX).then_some(id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::{ProcError, parsed};

    #[test]
    fn numbers_are_read_in_the_base_of_their_file() {
        assert_eq!(personality(b"00040000\n"), Ok(0x40000));
        assert_eq!(coredump_filter(b"00000033\n"), Ok(Some(0x33)));
        assert_eq!(coredump_filter(b""), Ok(None));
        assert_eq!(timerslack_ns(b"50000\n"), Ok(50000));
        assert_eq!(oom_score_adj(b"-1000\n"), Ok(-1000));
        assert_eq!(loginuid(b"1000"), Ok(Some(1000)));
        assert_eq!(loginuid(b"4294967295"), Ok(None));
        assert!(personality(b"100000000\n").is_err() && timerslack_ns(b"\n").is_err());
    }

    #[test]
    fn the_numbers_of_this_process_can_be_read() -> Result<(), ProcError> {
        let me = dormouse_wire::Pid(std::process::id() as i32);
        parsed(me, "personality", personality)?;
        parsed(me, "timerslack_ns", timerslack_ns)?;
        parsed(me, "oom_score_adj", oom_score_adj)?;
        for result in [parsed(me, "coredump_filter", coredump_filter), parsed(me, "loginuid", loginuid)] {
            // A kernel without core dumps or auditing has no such file.
            assert!(matches!(result, Ok(_) | Err(ProcError::Missing { .. })));
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "[+-]?[0-9a-f]{0,30}\n?") {
            for bytes in [&bytes, text.as_bytes()] {
                let _ = (personality(bytes), coredump_filter(bytes), timerslack_ns(bytes), oom_score_adj(bytes));
                let _ = (loginuid(bytes), sessionid(bytes));
            }
        }
    }
}
