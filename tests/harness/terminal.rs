//! A terminal as a terminal program has it: the test holds the master, types, and reads what would be shown.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::process::{Stat, numbers_in};
use crate::specimen::ORDINARY;
use crate::wait::{PATIENCE, until};
use crate::{User, group};

/// A terminal with a session on it. Dropping it hangs up, and ends what was started on it.
#[derive(Debug)]
pub struct Terminal {
    master: OwnedFd,
    leader: i32,
    shown: Arc<Mutex<Vec<u8>>>,
    /// What was shown before this has been looked at.
    seen: usize,
}

impl Terminal {
    /// Starts a command as the leader of a session on a new terminal of 24 rows and 80 columns.
    pub fn start(mut command: Command, user: User) -> Self {
        let master = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/ptmx");
        let master = OwnedFd::from(master.unwrap_or_else(|error| panic!("/dev/ptmx: {error}")));
        request(&master, libc::TIOCSPTLCK, &0_i32);
        request(&master, libc::TIOCSWINSZ, &[24_u16, 80, 0, 0]);
        let mut number = 0_i32;
        // SAFETY: TIOCGPTN writes one number, which lives through the call.
        assert_eq!(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) }, 0);
        let name = format!("/dev/pts/{number}");
        if user == User::Ordinary {
            chown(&name, Some(ORDINARY), Some(ORDINARY)).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let slave = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(&name);
        let slave = slave.unwrap_or_else(|error| panic!("{name}: {error}"));
        let stdio = || Stdio::from(slave.try_clone().unwrap_or_else(|error| panic!("{name}: {error}")));
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        // SAFETY: between fork and exec it makes a few system calls and touches no memory but its stack.
        unsafe { command.pre_exec(move || enter(user)) };
        // It is waited for by its pid, when the terminal is dropped.
        #[allow(clippy::zombie_processes)]
        let leader = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}")).id() as i32;
        let shown = Arc::default();
        let terminal = Self { shown: Arc::clone(&shown), master, leader, seen: 0 };
        let reading = terminal.master.try_clone().unwrap_or_else(|error| panic!("{error}"));
        std::thread::spawn(move || read_all(&reading, &shown));
        terminal
    }

    /// Starts an interactive shell without settings of its own.
    pub fn shell(shell: &str, user: User, folder: &std::path::Path, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(shell);
        if shell == "bash" {
            command.arg("--norc").arg("--noprofile");
        }
        command.arg("-i").current_dir(folder).env_clear().env("PATH", "/usr/bin:/bin").env("TERM", "xterm");
        command.env("HOME", folder).env("PS1", "READY> ").env("HISTFILE", "").env("LESSHISTFILE", "-");
        command.envs(environment.iter().copied());
        let mut terminal = Self::start(command, user);
        terminal.wait_for("READY> ");
        terminal
    }

    /// The pid of the session's leader.
    pub fn leader(&self) -> i32 {
        self.leader
    }

    /// Types.
    pub fn type_in(&mut self, keys: &str) {
        let written = nix::unistd::write(&self.master, keys.as_bytes());
        assert_eq!(written, Ok(keys.len()), "the terminal takes no keys");
    }

    /// Waits until this is shown behind what has been waited for before; answers all that was shown until then, without
    /// control sequences.
    pub fn wait_for(&mut self, text: &str) -> String {
        let found = until(PATIENCE, || {
            let shown = self.shown.lock().map(|shown| shown[self.seen..].to_vec()).unwrap_or_default();
            plain(&shown).contains(text).then(|| {
                // Up to its last letter: what follows is waited for next.
                let lengths: Vec<usize> = (0..=shown.len()).collect();
                let length = lengths.partition_point(|length| !plain(&shown[..*length]).contains(text));
                (length, plain(&shown[..length]))
            })
        });
        let (length, plain) = found.unwrap_or_else(|| panic!("`{text}` is not shown, but:\n{}", self.rest()));
        self.seen += length;
        plain
    }

    /// What was shown since, without control sequences.
    pub fn rest(&self) -> String {
        self.shown.lock().map(|shown| plain(&shown[self.seen..])).unwrap_or_default()
    }

    /// Forgets what has been shown until now, once nothing more comes.
    pub fn settle(&mut self) {
        let length = || self.shown.lock().map(|shown| shown.len()).unwrap_or_default();
        until(PATIENCE, || {
            self.seen = length();
            std::thread::sleep(Duration::from_millis(200));
            (length() == self.seen).then_some(())
        });
    }

    /// A process of this name on the terminal, once there is one.
    pub fn process(&self, name: &str) -> i32 {
        let found = until(PATIENCE, || {
            numbers_in("/proc").into_iter().find(|pid| {
                Stat::of(*pid).is_some_and(|stat| stat.comm() == name && stat.field(6) == self.leader.to_string())
            })
        });
        found.unwrap_or_else(|| panic!("there is no {name} on the terminal, but it shows:\n{}", self.rest()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let session: BTreeSet<i32> = numbers_in("/proc")
            .into_iter()
            .filter(|pid| Stat::of(*pid).is_some_and(|stat| stat.field(6) == self.leader.to_string()))
            .collect();
        for pid in &session {
            // SAFETY: sends a signal to a process that was started on this terminal.
            unsafe { libc::kill(*pid, libc::SIGKILL) };
        }
        until(Duration::from_secs(10), || {
            group::reap(&session);
            session.iter().all(|pid| Stat::of(*pid).is_none()).then_some(())
        });
    }
}

fn request<T>(master: &OwnedFd, request: libc::Ioctl, value: &T) {
    // SAFETY: each request above reads a value of the type it is given, which lives through the call.
    let done = unsafe { libc::ioctl(master.as_raw_fd(), request, std::ptr::from_ref(value)) };
    assert_eq!(done, 0, "the terminal cannot be set: {}", io::Error::last_os_error());
}

/// A session of its own on the terminal that is its standard input, and the user; runs between fork and exec.
fn enter(user: User) -> io::Result<()> {
    crate::specimen::enter(user)?;
    // SAFETY: takes numbers only.
    if unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn read_all(master: &OwnedFd, shown: &Mutex<Vec<u8>>) {
    // SAFETY: duplicates a descriptor that lives through the call; the new one belongs to the file alone.
    let mut file = unsafe { fs::File::from_raw_fd(libc::dup(master.as_raw_fd())) };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = io::Read::read(&mut file, &mut buffer) {
        if let Ok(mut shown) = shown.lock() {
            shown.extend_from_slice(&buffer[..count]);
        }
    }
}

/// The text without control sequences, ECMA-48: `ESC [ ... letter`, `ESC ] ... BEL`, `ESC` and one or two more.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, letter == '\x1b') {
            (_, true) => match letters.next() {
                Some('[') => drop(letters.by_ref().find(|letter| ('@'..='~').contains(letter))),
                Some(']') => drop(letters.by_ref().find(|letter| *letter == '\x07')),
                Some('(' | ')') => drop(letters.next()),
                _ => {}
            },
            ('\r' | '\x07' | '\x0f' | '\x0e', _) => {}
            _ => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    #[test]
    fn control_sequences_are_not_shown() {
        assert_eq!(super::plain(b"\x1b[?1049h\x1b[2J\x1b(Bone\r\n\x1b]0;title\x07two\x1b[m"), "one\ntwo");
    }
}
