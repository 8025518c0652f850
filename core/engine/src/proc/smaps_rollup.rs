//! The memory of a process, summed over its mappings: `/proc/PID/smaps_rollup`, Documentation/filesystems/proc.rst.
//!
//! The kernel walks all page tables for it, which takes some milliseconds for a gigabyte. It needs ptrace access
//! (`PTRACE_MODE_READ_FSCREDS`).

use super::text::{self, Unreadable};

/// The value of `/proc/PID/smaps_rollup`, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rollup {
    /// `Rss`: in memory.
    pub resident: u64,
    /// `Pss`: in memory, where each page counts by one part for each process that has it. Sums over processes make sense.
    pub proportional: u64,
    /// `Private_Clean` and `Private_Dirty`: in memory of this process alone.
    pub private: u64,
    /// `Swap`: in swap space.
    pub swap: u64,
    /// `SwapPss`: in swap space, counted by parts.
    pub proportional_swap: u64,
}

/// The value of `/proc/PID/smaps_rollup`. Lines of a name that it does not know are passed over, and the first line,
/// which looks like a mapping.
pub fn parse(bytes: &[u8]) -> Result<Rollup, Unreadable> {
    let mut rollup = Rollup::default();
    let mut seen = false;
    for line in text::lines(bytes).skip(1) {
        let (key, value) = text::split_once(line, b':').ok_or_else(|| Unreadable::line(line))?;
        let place = match key {
            b"Rss" => &mut rollup.resident,
            b"Pss" => &mut rollup.proportional,
            b"Private_Clean" | b"Private_Dirty" => &mut rollup.private,
            b"Swap" => &mut rollup.swap,
            b"SwapPss" => &mut rollup.proportional_swap,
            _ => continue,
        };
        *place = place.saturating_add(text::kibibytes(value).ok_or_else(|| Unreadable::line(line))?);
        seen |= key == b"Pss";
    }
    if seen { Ok(rollup) } else { Err(Unreadable::line(bytes)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::{self, ProcError};

    #[test]
    fn the_sums_are_read() {
        let bytes = b"55e5c8a2e000-7ffd0b9f6000 ---p 00000000 00:00 0                          [rollup]\n\
            Rss:                1776 kB\nPss:                 221 kB\nPss_Dirty:           120 kB\n\
            Shared_Clean:       1600 kB\nPrivate_Clean:        56 kB\nPrivate_Dirty:       120 kB\n\
            Swap:                  8 kB\nSwapPss:               4 kB\nLocked:                0 kB\n";
        let rollup = Rollup {
            resident: 1776 << 10,
            proportional: 221 << 10,
            private: 176 << 10,
            swap: 8 << 10,
            proportional_swap: 4 << 10,
        };
        assert_eq!(parse(bytes), Ok(rollup));
        assert!(parse(b"55e5c8a2e000-7ffd0b9f6000 ---p 00000000 00:00 0 [rollup]\nRss: 4 kB\n").is_err());
        assert!(parse(b"").is_err());
    }

    #[test]
    fn this_process_can_be_read() -> Result<(), ProcError> {
        let me = dormouse_wire::Pid(std::process::id() as i32);
        let rollup = proc::parsed(me, "smaps_rollup", parse)?;
        assert!(rollup.resident >= rollup.proportional && rollup.proportional >= rollup.private);
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "x\n((Pss|Swap|Rss):[0-9 ]{0,22}( kB)?\n){0,4}") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
        }
    }
}
