//! System calls that the programs of the zoo make, with their errors as values.
//!
//! [`call`] is not marked unsafe although it could do anything: a program of the zoo does to itself what its kind asks
//! for, and each call stands beside the check of what it did.

use std::ffi::CStr;
use std::io;
use std::time::{Duration, Instant};

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It called `_exit`.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

/// Any system call, by number.
pub fn call(number: i64, arguments: &[usize]) -> io::Result<i64> {
    let mut six = [0_usize; 6];
    six[..arguments.len()].copy_from_slice(arguments);
    let [one, two, three, four, five, last] = six;
    // SAFETY: see the module's words; pointers among the arguments are to values that outlive the call.
    checked(unsafe { libc::syscall(number, one, two, three, four, five, last) })
}

/// prctl(2).
pub fn prctl(option: i32, arguments: &[usize]) -> io::Result<i64> {
    let mut all = vec![option as usize];
    all.extend(arguments);
    call(libc::SYS_prctl, &all)
}

/// A result of libc as a value or the error.
pub fn checked<T: Copy + PartialOrd + From<i8>>(result: T) -> io::Result<T> {
    if result < T::from(0) { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The address of a value, for [`call`].
pub fn at<T: ?Sized>(value: &T) -> usize {
    (&raw const *value).cast::<u8>() as usize
}

/// The address of a value that the kernel writes, for [`call`].
pub fn into<T: ?Sized>(value: &mut T) -> usize {
    (&raw mut *value).cast::<u8>() as usize
}

/// fork(2). The programs that fork have one thread.
pub fn fork() -> io::Result<i32> {
    // SAFETY: the process has one thread, so nothing is held by another.
    checked(unsafe { libc::fork() })
}

/// _exit(2): no destructors, no buffers.
pub fn exit(code: i32) -> ! {
    // SAFETY: takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// waitpid(2) until the child has ended. An EINTR is an error here: nothing interrupts these programs.
pub fn wait_for(pid: i32) -> io::Result<Ended> {
    let mut status = 0;
    // SAFETY: `status` lives through the call.
    checked(unsafe { libc::waitpid(pid, &raw mut status, 0) })?;
    Ok(if libc::WIFSIGNALED(status) {
        Ended::Signal(libc::WTERMSIG(status))
    } else {
        Ended::Code(libc::WEXITSTATUS(status))
    })
}

/// Whether a path exists, without opening anything.
pub fn exists(path: &CStr) -> bool {
    // SAFETY: the string ends with a zero and outlives the call.
    unsafe { libc::access(path.as_ptr(), libc::F_OK) == 0 }
}

/// nanosleep(2), once.
pub fn nap(time: Duration) {
    let time = libc::timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
    // SAFETY: `time` lives through the call, and nothing is written.
    unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
}

/// Asks every few milliseconds, for up to 30 seconds.
pub fn until(mut ask: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    while !ask() {
        if begin.elapsed() > Duration::from_secs(30) {
            return false;
        }
        nap(Duration::from_millis(2));
    }
    true
}

/// gettid(2).
pub fn tid() -> i32 {
    // SAFETY: takes nothing.
    unsafe { libc::gettid() }
}

/// A line of `/proc/self/status`, or of a thread's.
pub fn status(path: &str, name: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.map_or_else(|| format!("no line {name} in {path}"), |value| value.trim().to_owned())
}

/// Waits until thread `tid` of this process stands in system call `number`.
pub fn stands_in(tid: i32, number: i64) -> bool {
    until(|| {
        let call = std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).unwrap_or_default();
        call.split(' ').next() == Some(number.to_string().as_str())
    })
}
