//! Pids that others have, and processes that have one number inside a pid namespace and another one outside.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use crate::wait::until;

/// Somebody who has this pid, until it is dropped.
#[derive(Debug)]
pub struct Squatter(i32);

impl Squatter {
    /// A child of this process that does nothing.
    pub fn at(pid: i32) -> Self {
        let made = clone_at(pid);
        if made == 0 {
            // SAFETY: both take integers; the child waits for the signal that ends it.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::pause();
                libc::_exit(0)
            }
        }
        Self(pid)
    }
}

/// Makes a child with this pid, which nobody has; 0 in the child. The pids that others get next stay the same: those of tests that are
/// asleep just now are among the last that were given.
fn clone_at(pid: i32) -> i32 {
    let wanted = [pid];
    // SAFETY: plain numbers, for which zeros are as good as any.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.set_tid = wanted.as_ptr() as u64;
    arguments.set_tid_size = 1;
    // The kernel frees a pid a moment after its process is not seen any more.
    let made = until(Duration::from_secs(2), || {
        // SAFETY: the arguments live through the call; like fork(2) it shares no memory with the child.
        let made = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) };
        (made >= 0 || std::io::Error::last_os_error().kind() != ErrorKind::AlreadyExists).then_some(made)
    });
    let made = made.unwrap_or_else(|| panic!("somebody has pid {pid}"));
    assert!(made == 0 || made == i64::from(pid), "clone3: {}", std::io::Error::last_os_error());
    made as i32
}

/// Starts a program of this user's with this pid, which nobody has, in a session of its own; it writes into a file.
pub fn start_at(pid: i32, user: u32, command: &[CString], out: &File) {
    let mut words: Vec<*const libc::c_char> = command.iter().map(|word| word.as_ptr()).collect();
    words.push(std::ptr::null());
    let nothing = File::open("/dev/null").unwrap_or_else(|error| panic!("/dev/null: {error}"));
    let (from, to) = (nothing.as_raw_fd(), out.as_raw_fd());
    if clone_at(pid) > 0 {
        return;
    }
    // SAFETY: between clone and exec it makes system calls only, without the C library's notion of threads, and all memory that it names was
    // made before.
    unsafe {
        libc::setsid();
        for (file, number) in [(from, 0), (to, 1), (to, 2)] {
            libc::dup2(file, number);
        }
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0);
        libc::syscall(libc::SYS_setgroups, 0, 0);
        libc::syscall(libc::SYS_setresgid, user, user, user);
        libc::syscall(libc::SYS_setresuid, user, user, user);
        libc::execvp(words.as_ptr().read(), words.as_ptr());
        libc::_exit(127)
    }
}

impl Drop for Squatter {
    fn drop(&mut self) {
        // SAFETY: a signal for our own child, which nobody else has waited for, and the wait for it.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

/// The numbers of a process, outside first; none where it is gone.
pub fn numbers(pid: i32) -> Vec<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    line.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// Who is called so one pid namespace below ours: its number here.
pub fn outside(inside: i32, folder: &Path) -> Option<i32> {
    let pids = fs::read_dir("/proc").unwrap_or_else(|error| panic!("{error}")).flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let lives_here = |pid: &i32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|place| place == folder);
    pids.filter(|pid| numbers(*pid).get(1..) == Some(&[inside])).find(lives_here)
}
