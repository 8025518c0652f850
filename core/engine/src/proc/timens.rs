//! `/proc/PID/timens_offsets`: how far the clocks of a process's time namespace are ahead, time_namespaces(7). Linux 5.6.

use super::text::{self, Unreadable};

/// What is added to the clocks of the first namespace, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockOffsets {
    /// To CLOCK_MONOTONIC.
    pub monotonic: i64,
    /// To CLOCK_BOOTTIME.
    pub boottime: i64,
}

/// The file has a line for each clock: its name, seconds, nanoseconds.
pub fn parse(bytes: &[u8]) -> Result<ClockOffsets, Unreadable> {
    let mut offsets = ClockOffsets::default();
    for line in text::lines(bytes) {
        let (name, offset) = clock(line).ok_or_else(|| Unreadable::line(line))?;
        match name {
            b"monotonic" => offsets.monotonic = offset,
            b"boottime" => offsets.boottime = offset,
            // A clock that is to come.
            _ => {}
        }
    }
    Ok(offsets)
}

fn clock(line: &[u8]) -> Option<(&[u8], i64)> {
    let mut words = text::words(line);
    let (name, seconds, nanoseconds) = (words.next()?, words.next()?, words.next()?);
    let seconds: i64 = text::decimal(seconds)?;
    Some((name, seconds.checked_mul(1_000_000_000)?.checked_add(text::decimal(nanoseconds)?)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn offsets_are_read_in_nanoseconds() {
        let read = parse(b"monotonic        -2  500000000\nboottime         86400         1\n");
        assert_eq!(read, Ok(ClockOffsets { monotonic: -1_500_000_000, boottime: 86_400_000_000_001 }));
        assert!(parse(b"monotonic 1\n").is_err() && parse(b"boottime 9223372036854775807 0\n").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
