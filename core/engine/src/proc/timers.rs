//! The POSIX timers of a process: `/proc/PID/timers`, proc_pid_timers(5). The file needs a kernel with
//! `CONFIG_CHECKPOINT_RESTORE`. It does not say when a timer expires: timer_gettime(2) inside the process does.

use serde::{Deserialize, Serialize};

use super::text::{self, Unreadable};

/// A timer made with timer_create(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PosixTimer {
    /// What the process calls it: the kernel's `timer_t`.
    pub id: i32,
    /// `sigev_signo`.
    pub signal: i32,
    /// `sigev_value`, a number or an address in the process.
    pub value: u64,
    /// How the process is told, `sigev_notify` without `SIGEV_THREAD_ID`.
    pub notify: Notify,
    /// Who is told.
    pub target: NotifyTarget,
    /// The clock, clock_gettime(2); negative for the time of a process or a thread.
    pub clock: i32,
}

/// How a process is told that a timer has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Notify {
    /// `SIGEV_SIGNAL`.
    Signal,
    /// `SIGEV_NONE`.
    None,
    /// `SIGEV_THREAD`; C libraries build it from `SIGEV_SIGNAL` and a thread of theirs.
    Thread,
}

/// Who is told that a timer has expired. 0 for one outside this pid namespace or one that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NotifyTarget {
    /// The process.
    Process(i32),
    /// One thread, `SIGEV_THREAD_ID`.
    Thread(i32),
}

/// The value of `/proc/PID/timers`: four lines a timer.
pub fn parse(bytes: &[u8]) -> Result<Vec<PosixTimer>, Unreadable> {
    let lines: Vec<&[u8]> = text::lines(bytes).collect();
    let of_four = |four: &[&[u8]]| timer(four).ok_or_else(|| Unreadable::line(&four.join(&b'\n')));
    lines.chunks(4).map(of_four).collect()
}

/// `ID: 0`, `signal: 14/00007fff12340000`, `notify: signal/pid.8052`, `ClockID: 0`
fn timer(lines: &[&[u8]]) -> Option<PosixTimer> {
    let [id, signal, notify, clock] = lines else { return None };
    let (signal, value) = text::split_once(signal.strip_prefix(b"signal: ")?, b'/')?;
    let (how, who) = text::split_once(notify.strip_prefix(b"notify: ")?, b'/')?;
    let (who, number) = text::split_once(who, b'.')?;
    let number = text::decimal(number)?;
    Some(PosixTimer {
        id: text::decimal(id.strip_prefix(b"ID: ")?)?,
        signal: text::decimal(signal)?,
        value: text::hexadecimal(value)?,
        notify: match how {
            b"signal" => Notify::Signal,
            b"none" => Notify::None,
            b"thread" => Notify::Thread,
            _ => return None,
        },
        target: match who {
            b"pid" => NotifyTarget::Process(number),
            b"tid" => NotifyTarget::Thread(number),
            _ => return None,
        },
        clock: text::decimal(clock.strip_prefix(b"ClockID: ")?)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::{self, ProcError};

    #[test]
    fn timers_are_read() {
        let text = b"ID: 2\nsignal: 14/00007fff12340002\nnotify: signal/tid.8053\nClockID: -6\n\
            ID: 0\nsignal: 0/0000000000000000\nnotify: none/pid.8052\nClockID: 1\n";
        let first = PosixTimer {
            id: 2,
            signal: 14,
            value: 0x7fff_1234_0002,
            notify: Notify::Signal,
            target: NotifyTarget::Thread(8053),
            clock: -6,
        };
        let second = PosixTimer {
            id: 0,
            signal: 0,
            value: 0,
            notify: Notify::None,
            target: NotifyTarget::Process(8052),
            clock: 1,
        };
        assert_eq!(parse(text), Ok(vec![first, second]));
        assert_eq!(parse(b""), Ok(Vec::new()));
    }

    #[test]
    fn a_timer_that_is_cut_is_refused() {
        assert!(parse(b"ID: 2\nsignal: 14/00007fff12340002\nnotify: signal/tid.8053\n").is_err());
        assert!(parse(b"ID: 2\nsignal: 14/0\nnotify: smoke/tid.8053\nClockID: 1\n").is_err());
    }

    #[test]
    fn every_live_process_can_be_read() -> Result<(), ProcError> {
        for pid in proc::list_pids()? {
            match proc::parsed(pid, "timers", parse) {
                Err(ProcError::Gone | ProcError::Denied { .. } | ProcError::Missing { .. }) => {}
                timers => drop(timers?),
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "ID: [0-9]{0,3}\nsignal: [0-9/]{0,9}\nnotify: [a-z/.0-9]{0,12}\nClockID: -?[0-9]{0,2}") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
        }
    }
}
