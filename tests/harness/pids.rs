//! Pids that others have, and processes that have one number inside a pid namespace and another one outside.

use std::fs;
use std::path::Path;

/// Somebody who has this pid, until it is dropped.
#[derive(Debug)]
pub struct Squatter(i32);

impl Squatter {
    /// A child of this process that does nothing.
    pub fn at(pid: i32) -> Self {
        let wanted = [pid];
        // SAFETY: plain numbers, for which zeros are as good as any.
        let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
        arguments.exit_signal = libc::SIGCHLD as u64;
        arguments.set_tid = wanted.as_ptr() as u64;
        arguments.set_tid_size = 1;
        // SAFETY: the arguments live through the call; like fork(2) it shares no memory with the child.
        let made = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) };
        if made == 0 {
            // SAFETY: both take integers; the child waits for the signal that ends it.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::pause();
                libc::_exit(0)
            }
        }
        assert_eq!(made, i64::from(pid), "clone3: {}", std::io::Error::last_os_error());
        Self(pid)
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
