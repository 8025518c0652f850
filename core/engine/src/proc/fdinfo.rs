//! What the kernel says about one descriptor: `/proc/PID/fdinfo/FD`. See proc_pid_fdinfo(5) and
//! Documentation/filesystems/proc.rst, "Information about opened file".

use dormouse_wire::{FdNumber, Pid};
use serde::{Deserialize, Serialize};

use super::locks::{self, Lock};
use super::text::{self, Unreadable};

/// The value of one `fdinfo` file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdInfo {
    /// The file offset, in bytes.
    pub position: i64,
    /// Access mode and status flags of the open file description (open(2)), and `O_CLOEXEC` of this descriptor.
    pub flags: u32,
    /// The mount it was opened on: an id of mountinfo.
    pub mount_id: i32,
    /// The inode number (5.14).
    pub inode: Option<u64>,
    /// What only some kinds of files have, in the order of the file.
    pub details: Vec<FdDetail>,
}

/// A line of `fdinfo` that only some kinds of files have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FdDetail {
    /// `lock`: a lock that was taken through this descriptor.
    Lock(Lock),
    /// `eventfd-count`: eventfd(2).
    EventfdCount(u64),
    /// `eventfd-id`: tells this eventfd from others until the next boot (5.2).
    EventfdId(i64),
    /// `eventfd-semaphore`: `EFD_SEMAPHORE` (6.5).
    EventfdSemaphore(bool),
    /// `tfd`: a descriptor that an epoll set watches.
    EpollTarget(EpollTarget),
    /// `sigmask`: the signals of a signalfd, bit n for signal n + 1.
    SignalMask(u64),
    /// `clockid`: the clock of a timerfd.
    TimerClock(i32),
    /// `ticks`: how often a timerfd has expired since it was read.
    TimerTicks(u64),
    /// `settime flags`: what timerfd_settime(2) was given.
    TimerFlags(u32),
    /// `it_value`: seconds and nanoseconds until a timerfd expires; zero if it is not armed.
    TimerValue(u64, u32),
    /// `it_interval`: seconds and nanoseconds between two expiries.
    TimerInterval(u64, u32),
    /// A line that begins with `inotify`: a watch.
    Inotify(#[serde(with = "serde_bytes")] Vec<u8>),
    /// A line that begins with `fanotify`: a group or a mark.
    Fanotify(#[serde(with = "serde_bytes")] Vec<u8>),
    /// `Pid`: what a pidfd refers to; -1 if it has been reaped, 0 if it is outside this pid namespace.
    PidfdPid(i32),
    /// `NSpid`: the same process in this pid namespace and those below it.
    PidfdNamespacePids(Vec<Pid>),
    /// `tty-index`: the number of a pseudoterminal, of its master.
    TtyIndex(i32),
    /// Anything else: what stands before the first colon, and behind it without the white space around it. A line
    /// without a colon is a key without a value.
    Other(#[serde(with = "serde_bytes")] Vec<u8>, #[serde(with = "serde_bytes")] Vec<u8>),
}

/// What an epoll set watches: `tfd: FD events: EVENTS data: DATA pos:POS ino:INODE sdev:DEVICE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EpollTarget {
    /// The number that the descriptor had when it was added: it may mean another file now, or none.
    pub fd: FdNumber,
    /// The events, epoll_ctl(2); only `EPOLLONESHOT` and its like are left once a one-shot one has fired.
    pub events: u32,
    /// What the program gets with the event.
    pub data: u64,
    /// The file offset of the target.
    pub position: i64,
    /// The inode number of the target.
    pub inode: u64,
    /// The device of the target, as the kernel has it: major number above 20 bits of minor number.
    pub device: u32,
}

impl FdInfo {
    /// The number of a pseudoterminal, for its master.
    pub fn terminal(&self) -> Option<u32> {
        self.details.iter().find_map(|detail| match detail {
            FdDetail::TtyIndex(number) => u32::try_from(*number).ok(),
            _ => None,
        })
    }

    /// The device of the filesystem that is served by a descriptor of `/dev/fuse`, as the kernel numbers it (6.18).
    pub fn fuse_connection(&self) -> Option<u32> {
        self.details.iter().find_map(|detail| match detail {
            FdDetail::Other(key, value) if key == b"fuse_connection" => text::decimal(value),
            _ => None,
        })
    }

    /// The locks that were taken through this descriptor.
    pub fn locks(&self) -> impl Iterator<Item = &Lock> {
        self.details.iter().filter_map(|detail| match detail {
            FdDetail::Lock(lock) => Some(lock),
            _ => None,
        })
    }

    /// What an epoll set watches, in the order of the kernel.
    pub fn watched(&self) -> impl Iterator<Item = &EpollTarget> {
        self.details.iter().filter_map(|detail| match detail {
            FdDetail::EpollTarget(target) => Some(target),
            _ => None,
        })
    }

    /// The value of a key that has no variant of its own, without the white space around it.
    pub fn other(&self, key: &str) -> Option<&[u8]> {
        self.details.iter().find_map(|detail| match detail {
            FdDetail::Other(name, value) if name == key.as_bytes() => Some(value.as_slice()),
            _ => None,
        })
    }
}

/// The value of `/proc/PID/fdinfo/FD`.
pub fn parse(bytes: &[u8]) -> Result<FdInfo, Unreadable> {
    let (mut position, mut flags, mut mount_id, mut inode) = (None, None, None, None);
    let mut details = Vec::new();
    for line in text::lines(bytes) {
        let (key, value) = text::split_once(line, b':').unwrap_or((line, b""));
        let value = value.trim_ascii();
        let unreadable = || Unreadable::line(line);
        // The kernel writes these four first; a driver that uses one of the words again means something of its own.
        match key {
            b"pos" if position.is_none() => position = Some(text::decimal(value).ok_or_else(unreadable)?),
            b"flags" if flags.is_none() => flags = Some(text::octal(value).ok_or_else(unreadable)?),
            b"mnt_id" if mount_id.is_none() => mount_id = Some(text::decimal(value).ok_or_else(unreadable)?),
            b"ino" if inode.is_none() => inode = Some(text::decimal(value).ok_or_else(unreadable)?),
            _ => details.push(detail(line, key, value).ok_or_else(unreadable)?),
        }
    }
    let missing = |key: &str| Unreadable::line(format!("no line \"{key}\"").as_bytes());
    Ok(FdInfo {
        position: position.ok_or_else(|| missing("pos"))?,
        flags: flags.ok_or_else(|| missing("flags"))?,
        mount_id: mount_id.ok_or_else(|| missing("mnt_id"))?,
        inode,
        details,
    })
}

fn detail(line: &[u8], key: &[u8], value: &[u8]) -> Option<FdDetail> {
    Some(match key {
        b"lock" => FdDetail::Lock(locks::parse_line(value).ok()?),
        b"eventfd-count" => FdDetail::EventfdCount(text::hexadecimal(value)?),
        b"eventfd-id" => FdDetail::EventfdId(text::decimal(value)?),
        b"eventfd-semaphore" => FdDetail::EventfdSemaphore(text::decimal::<u32>(value)? != 0),
        b"tfd" => FdDetail::EpollTarget(epoll_target(value)?),
        b"sigmask" => FdDetail::SignalMask(text::hexadecimal(value)?),
        b"clockid" => FdDetail::TimerClock(text::decimal(value)?),
        b"ticks" => FdDetail::TimerTicks(text::decimal(value)?),
        b"settime flags" => FdDetail::TimerFlags(text::octal(value)?),
        b"it_value" => time(value).map(|(seconds, nanoseconds)| FdDetail::TimerValue(seconds, nanoseconds))?,
        b"it_interval" => time(value).map(|(seconds, nanoseconds)| FdDetail::TimerInterval(seconds, nanoseconds))?,
        b"Pid" => FdDetail::PidfdPid(text::decimal(value)?),
        b"NSpid" => FdDetail::PidfdNamespacePids(
            text::words(value).map(|word| text::decimal(word).map(Pid)).collect::<Option<_>>()?,
        ),
        b"tty-index" => FdDetail::TtyIndex(text::decimal(value)?),
        _ if line.starts_with(b"inotify ") => FdDetail::Inotify(line.to_vec()),
        _ if line.starts_with(b"fanotify ") => FdDetail::Fanotify(line.to_vec()),
        _ => FdDetail::Other(key.to_vec(), value.to_vec()),
    })
}

/// `        3 events:       19 data:                3  pos:0 ino:40e sdev:10`
fn epoll_target(value: &[u8]) -> Option<EpollTarget> {
    let mut rest = value;
    let fd = text::decimal(text::take_word(&mut rest)?).map(FdNumber)?;
    let mut field = |key: &[u8]| {
        let behind = rest.trim_ascii_start().strip_prefix(key)?;
        rest = behind;
        text::take_word(&mut rest)
    };
    Some(EpollTarget {
        fd,
        events: text::hexadecimal(field(b"events:")?)?.try_into().ok()?,
        data: text::hexadecimal(field(b"data:")?)?,
        position: text::decimal(field(b"pos:")?)?,
        inode: text::hexadecimal(field(b"ino:")?)?,
        device: text::hexadecimal(field(b"sdev:")?)?.try_into().ok()?,
    })
}

/// `(SECONDS, NANOSECONDS)`
fn time(value: &[u8]) -> Option<(u64, u32)> {
    let (seconds, nanoseconds) = text::split_once(value.strip_prefix(b"(")?.strip_suffix(b")")?, b',')?;
    Some((text::decimal(seconds)?, text::decimal(nanoseconds.trim_ascii())?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::locks::LockKind;
    use crate::proc::{self, ProcError};

    fn details(lines: &str) -> Result<Vec<FdDetail>, Unreadable> {
        parse(format!("pos:\t0\nflags:\t02000002\nmnt_id:\t17\nino:\t1038\n{lines}").as_bytes())
            .map(|info| info.details)
    }

    #[test]
    fn what_every_descriptor_has_is_read() {
        let expected =
            FdInfo { position: 110, flags: 0o2100001, mount_id: 27, inode: Some(10019394), details: Vec::new() };
        assert_eq!(parse(b"pos:\t110\nflags:\t02100001\nmnt_id:\t27\nino:\t10019394\n"), Ok(expected.clone()));
        let older = FdInfo { inode: None, ..expected };
        assert_eq!(parse(b"pos:\t110\nflags:\t02100001\nmnt_id:\t27\n"), Ok(older));
        assert!(parse(b"pos:\t110\nmnt_id:\t27\n").is_err());
    }

    #[test]
    fn an_eventfd_is_read() {
        let lines = "eventfd-count:               1f\neventfd-id: 1\neventfd-semaphore: 1\n";
        let expected = vec![FdDetail::EventfdCount(31), FdDetail::EventfdId(1), FdDetail::EventfdSemaphore(true)];
        assert_eq!(details(lines), Ok(expected));
        let full = details("eventfd-count: fffffffffffffffe\n");
        assert_eq!(full, Ok(vec![FdDetail::EventfdCount(u64::MAX - 1)]));
    }

    #[test]
    fn the_targets_of_an_epoll_set_are_read() {
        let target = EpollTarget {
            fd: FdNumber(3),
            events: 0x8000_0019,
            data: 0xffff_ffff_0000_0003,
            position: 5,
            inode: 0x40e,
            device: 0x10,
        };
        let line = "tfd:        3 events: 80000019 data: ffffffff00000003  pos:5 ino:40e sdev:10\n";
        assert_eq!(details(line), Ok(vec![FdDetail::EpollTarget(target)]));
    }

    #[test]
    fn timers_signals_and_processes_are_read() {
        let lines = "clockid: 1\nticks: 0\nsettime flags: 01\nit_value: (10, 48092503)\nit_interval: (3, 500000000)\n";
        let expected = vec![
            FdDetail::TimerClock(1),
            FdDetail::TimerTicks(0),
            FdDetail::TimerFlags(1),
            FdDetail::TimerValue(10, 48092503),
            FdDetail::TimerInterval(3, 500000000),
        ];
        assert_eq!(details(lines), Ok(expected));
        assert_eq!(details("sigmask:\t0000000000000802\n"), Ok(vec![FdDetail::SignalMask(0x802)]));
        let pidfd = vec![FdDetail::PidfdPid(8052), FdDetail::PidfdNamespacePids(vec![Pid(8052), Pid(1)])];
        assert_eq!(details("Pid:\t8052\nNSpid:\t8052\t1\n"), Ok(pidfd));
        assert_eq!(details("Pid:\t-1\n"), Ok(vec![FdDetail::PidfdPid(-1)]));
        assert_eq!(details("tty-index:\t0\n"), Ok(vec![FdDetail::TtyIndex(0)]));
    }

    #[test]
    fn watches_are_kept_as_they_stand() {
        let line = "inotify wd:1 ino:3c4a7 sdev:fe00000 mask:3ff ignored_mask:0 fhandle-bytes:8 fhandle-type:1";
        assert_eq!(details(line), Ok(vec![FdDetail::Inotify(line.into())]));
    }

    #[test]
    fn locks_are_read_and_never_passed_over() -> Result<(), Unreadable> {
        let text = b"pos:\t0\nflags:\t02\nmnt_id:\t27\nlock:\t1: FLOCK  ADVISORY  WRITE 8052 fe:00:10013100 0 EOF\n";
        let info = parse(text)?;
        assert!(info.locks().map(|lock| &lock.kind).eq([&LockKind::Flock]));
        assert!(details("lock:\t1: FLOCK\n").is_err());
        Ok(())
    }

    #[test]
    fn what_is_unknown_is_kept() -> Result<(), Unreadable> {
        let info = parse(b"pos:\t0\nflags:\t02\nmnt_id:\t27\nflags:\tx y\nnothing\n")?;
        assert_eq!(info.other("flags"), Some(&b"x y"[..]));
        assert_eq!(info.other("nothing"), Some(&b""[..]));
        Ok(())
    }

    #[test]
    fn every_live_descriptor_can_be_read() -> Result<(), ProcError> {
        for pid in proc::list_pids()? {
            let fds = match proc::list_fds(pid) {
                Err(ProcError::Gone | ProcError::Denied { .. }) => continue,
                fds => fds?,
            };
            for fd in fds {
                match proc::parsed(pid, &format!("fdinfo/{fd}"), parse) {
                    Err(ProcError::Gone | ProcError::Denied { .. } | ProcError::Missing { .. }) => {}
                    info => drop(info?),
                }
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, lines in "((tfd|it_value|lock|NSpid|pos|flags|ino):[ 0-9a-f():,\t]{0,30}\n){0,5}") {
            let _ = (parse(&bytes), details(&lines));
        }
    }
}
