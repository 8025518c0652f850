//! Descriptors that stand for no file in a filesystem: eventfd(2), timerfd_create(2), signalfd(2), epoll(7).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::{Answer, checked};

/// Seconds and nanoseconds.
pub type Time = (i64, i64);

fn owned(result: libc::c_long) -> Answer<OwnedFd> {
    let number = checked(result)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has its number.
    Ok(unsafe { OwnedFd::from_raw_fd(number as i32) })
}

/// An eventfd at zero that does not block.
pub fn eventfd(semaphore: bool) -> Answer<OwnedFd> {
    let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK | if semaphore { libc::EFD_SEMAPHORE } else { 0 };
    // SAFETY: eventfd takes two integers.
    owned(unsafe { libc::eventfd(0, flags) }.into())
}

/// A signalfd that takes these signals, bit n for signal n + 1.
pub fn signalfd(mask: u64) -> Answer<OwnedFd> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: signalfd4 reads the mask, which is as long as is said and lives through the call.
    owned(unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const mask, size_of::<u64>(), flags) })
}

/// A timerfd that is not armed.
pub fn timerfd(clock: i32) -> Answer<OwnedFd> {
    // SAFETY: timerfd_create takes two integers.
    owned(unsafe { libc::timerfd_create(clock, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) }.into())
}

/// What is left until the timer expires, and its interval. A periodic timer that has expired is brought up to date:
/// its ticks are then all that have passed.
pub fn timer(file: &impl AsFd) -> Answer<(Time, Time)> {
    let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let mut times = libc::itimerspec { it_interval: zero, it_value: zero };
    // SAFETY: timerfd_gettime writes one structure, which we hold.
    checked(unsafe { libc::timerfd_gettime(file.as_fd().as_raw_fd(), &raw mut times) }.into())?;
    Ok(((times.it_value.tv_sec, times.it_value.tv_nsec), (times.it_interval.tv_sec, times.it_interval.tv_nsec)))
}

/// Arms a timer, or disarms it with a value of zero.
pub fn set_timer(file: &impl AsFd, flags: i32, value: Time, interval: Time) -> Answer<()> {
    let time = |(seconds, nanoseconds): Time| libc::timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = libc::itimerspec { it_interval: time(interval), it_value: time(value) };
    let none = std::ptr::null_mut();
    // SAFETY: timerfd_settime reads one structure, which we hold.
    checked(unsafe { libc::timerfd_settime(file.as_fd().as_raw_fd(), flags, &raw const times, none) }.into()).map(drop)
}

/// How often the timer has expired since it was read, TFD_IOC_SET_TICKS: at least once. Linux 3.17, if the kernel was
/// built for checkpoint and restore.
pub fn set_ticks(file: &impl AsFd, ticks: u64) -> Answer<()> {
    let request = nix::request_code_write!(b'T', 0, size_of::<u64>());
    // SAFETY: the call reads one number, which we hold.
    checked(unsafe { libc::ioctl(file.as_fd().as_raw_fd(), request, &raw const ticks) }.into()).map(drop)
}

/// An epoll set that watches nothing.
pub fn epoll() -> Answer<OwnedFd> {
    // SAFETY: epoll_create1 takes one integer.
    owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }.into())
}

/// Lets a set watch a file for these events, under its number here, EPOLL_CTL_ADD.
pub fn watch(epoll: &impl AsFd, file: &impl AsFd, events: u32) -> Answer<()> {
    let mut event = libc::epoll_event { events, u64: 0 };
    let (epoll, file) = (epoll.as_fd().as_raw_fd(), file.as_fd().as_raw_fd());
    // SAFETY: epoll_ctl reads one structure, which we hold.
    checked(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, file, &raw mut event) }.into()).map(drop)
}

/// Whether a set polls network devices busily: any setting of EPIOCGPARAMS, Linux 6.9.
pub fn polls_busily(epoll: &impl AsFd) -> bool {
    let request = nix::request_code_read!(0x8a, 0x02, size_of::<u64>());
    let mut settings = 0_u64;
    // SAFETY: the call writes a structure of eight bytes, which we hold.
    let answer = checked(unsafe { libc::ioctl(epoll.as_fd().as_raw_fd(), request, &raw mut settings) }.into());
    answer.is_ok() && settings != 0
}

/// Takes up to `most` events that are ready out of the set, and answers how many there were.
pub fn take_events(epoll: &impl AsFd, most: usize) -> Answer<usize> {
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; most];
    // SAFETY: epoll_wait writes at most as many structures as we hold.
    let count = unsafe { libc::epoll_wait(epoll.as_fd().as_raw_fd(), events.as_mut_ptr(), most as i32, 0) };
    checked(count.into()).map(|count| count as usize)
}

/// Which of these events the file has now, poll(2).
pub fn poll(file: &impl AsFd, events: i16) -> Answer<i16> {
    let mut asked = libc::pollfd { fd: file.as_fd().as_raw_fd(), events, revents: 0 };
    // SAFETY: poll writes one structure, which we hold.
    checked(unsafe { libc::poll(&raw mut asked, 1, 0) }.into())?;
    Ok(asked.revents)
}
