//! The memory of a process in pages: `/proc/PID/statm`, proc_pid_statm(5).

use super::text::{self, Unreadable};

/// The value of `/proc/PID/statm`, in pages. All zeros for threads of the kernel and for zombies, which have no memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statm {
    /// The address space.
    pub size: u64,
    /// In memory; not exact.
    pub resident: u64,
    /// In memory, of files or shared.
    pub shared: u64,
}

/// The value of `/proc/PID/statm`.
pub fn parse(bytes: &[u8]) -> Result<Statm, Unreadable> {
    let mut numbers = text::words(bytes).map(text::decimal::<u64>);
    let mut next = || numbers.next().flatten().ok_or_else(|| Unreadable::line(bytes));
    Ok(Statm { size: next()?, resident: next()?, shared: next()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::{self, ProcError};

    #[test]
    fn the_numbers_are_those_of_the_manual_page() {
        assert_eq!(parse(b"765 444 416 5 0 108 0\n"), Ok(Statm { size: 765, resident: 444, shared: 416 }));
        assert!(parse(b"765 444\n").is_err());
        assert!(parse(b"765 444 x\n").is_err());
    }

    #[test]
    fn every_live_process_can_be_read() -> Result<(), ProcError> {
        for pid in proc::list_pids()? {
            match proc::parsed(pid, "statm", parse) {
                Err(ProcError::Gone) => {}
                statm => assert!(statm?.resident < 1 << 40),
            }
        }
        let me = dormouse_wire::Pid(std::process::id() as i32);
        assert!(proc::parsed(me, "statm", parse)?.resident > 0);
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "[0-9 ]{0,40}") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
        }
    }
}
