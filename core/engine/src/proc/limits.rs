//! The limits of a process: `/proc/PID/limits`, proc_pid_limits(5). Unlike prlimit(2) it asks for no privilege.

use serde::{Deserialize, Serialize};

use super::text::{self, Unreadable};

/// A limit in the unit of getrlimit(2); [`Limit::UNLIMITED`] for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limit {
    /// What binds now.
    pub soft: u64,
    /// How far the process may raise it.
    pub hard: u64,
}

impl Limit {
    /// `RLIM_INFINITY`, shown as `unlimited`.
    pub const UNLIMITED: u64 = u64::MAX;
}

/// All limits, at the index of their `RLIMIT_*` number on x86-64 and arm64.
pub type Limits = [Limit; 16];

/// What the file calls each limit, in the order of `RLIMIT_*`.
const NAMES: [&str; 16] = [
    "Max cpu time",
    "Max file size",
    "Max data size",
    "Max stack size",
    "Max core file size",
    "Max resident set",
    "Max processes",
    "Max open files",
    "Max locked memory",
    "Max address space",
    "Max file locks",
    "Max pending signals",
    "Max msgqueue size",
    "Max nice priority",
    "Max realtime priority",
    "Max realtime timeout",
];

/// The value of `/proc/PID/limits`.
pub fn parse(bytes: &[u8]) -> Result<Limits, Unreadable> {
    let mut limits = [None; 16];
    for line in text::lines(bytes).skip(1) {
        let limit = NAMES.iter().zip(&mut limits).find_map(|(name, place)| {
            let values = line.strip_prefix(name.as_bytes())?;
            *place = limit(values);
            *place
        });
        limit.ok_or_else(|| Unreadable::line(line))?;
    }
    let complete: Option<Vec<Limit>> = limits.into_iter().collect();
    complete.and_then(|limits| limits.try_into().ok()).ok_or_else(|| Unreadable::line(b"a limit is missing"))
}

/// `     SOFT      HARD      UNITS`
fn limit(values: &[u8]) -> Option<Limit> {
    let mut words = text::words(values).map(|word| match word {
        b"unlimited" => Some(Limit::UNLIMITED),
        number => text::decimal(number),
    });
    Some(Limit { soft: words.next()??, hard: words.next()?? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::{self, ProcError};

    const SAMPLE: &str = "\
Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max file size             unlimited            unlimited            bytes     
Max data size             unlimited            unlimited            bytes     
Max stack size            8388608              unlimited            bytes     
Max core file size        0                    unlimited            bytes     
Max resident set          unlimited            unlimited            bytes     
Max processes             96364                96365                processes 
Max open files            20000                20001                files     
Max locked memory         8388608              8388608              bytes     
Max address space         unlimited            unlimited            bytes     
Max file locks            unlimited            unlimited            locks     
Max pending signals       96364                96364                signals   
Max msgqueue size         819200               819200               bytes     
Max nice priority         0                    0                    
Max realtime priority     0                    99                   
Max realtime timeout      unlimited            18446744073709551614 us        
";

    #[test]
    fn limits_come_in_the_order_of_their_numbers() -> Result<(), Unreadable> {
        let limits = parse(SAMPLE.as_bytes())?;
        assert_eq!(limits[libc::RLIMIT_CPU as usize], Limit { soft: u64::MAX, hard: u64::MAX });
        assert_eq!(limits[libc::RLIMIT_STACK as usize], Limit { soft: 8388608, hard: u64::MAX });
        assert_eq!(limits[libc::RLIMIT_NPROC as usize], Limit { soft: 96364, hard: 96365 });
        assert_eq!(limits[libc::RLIMIT_NOFILE as usize], Limit { soft: 20000, hard: 20001 });
        assert_eq!(limits[libc::RLIMIT_RTPRIO as usize], Limit { soft: 0, hard: 99 });
        assert_eq!(limits[libc::RLIMIT_RTTIME as usize], Limit { soft: u64::MAX, hard: u64::MAX - 1 });
        Ok(())
    }

    #[test]
    fn the_limits_of_this_process_are_what_the_system_call_says() -> Result<(), Box<dyn std::error::Error>> {
        use nix::sys::resource::{Resource, getrlimit};
        let limits = proc::parsed(dormouse_wire::Pid(std::process::id() as i32), "limits", parse)?;
        for resource in [Resource::RLIMIT_NOFILE, Resource::RLIMIT_MEMLOCK, Resource::RLIMIT_SIGPENDING] {
            let (soft, hard) = getrlimit(resource)?;
            assert_eq!(limits[resource as usize], Limit { soft, hard });
        }
        Ok(())
    }

    #[test]
    fn a_file_that_is_cut_or_has_an_unknown_limit_is_refused() {
        assert!(parse(&SAMPLE.as_bytes()[..SAMPLE.len() - 100]).is_err());
        assert!(parse(format!("{SAMPLE}Max patience    0    0\n").as_bytes()).is_err());
        assert!(parse(b"").is_err());
    }

    #[test]
    fn every_live_process_can_be_read() -> Result<(), ProcError> {
        for pid in proc::list_pids()? {
            match proc::parsed(pid, "limits", parse) {
                Err(ProcError::Gone | ProcError::Denied { .. }) => {}
                limits => drop(limits?),
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, line in "\nMax cpu time[ 0-9a-z]{0,30}") {
            let _ = (parse(&bytes), parse(line.as_bytes()));
        }
    }
}
