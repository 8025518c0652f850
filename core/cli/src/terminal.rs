//! The terminal on standard input: who has it, and how it is set, tcsetpgrp(3) and termios(3).

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use dormouse_engine::kernel::terminal;
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp, ttyname};

/// How long a program gets to look at a size.
const GLANCE: Duration = Duration::from_millis(50);

/// A terminal, and how it was set when the command began.
#[derive(Debug)]
pub struct Terminal {
    file: OwnedFd,
    path: PathBuf,
    before: Termios,
}

impl Terminal {
    /// The terminal on standard input, where there is one.
    pub fn of_standard_input() -> Option<Self> {
        let input = io::stdin();
        if !input.is_terminal() {
            return None;
        }
        let file = input.as_fd().try_clone_to_owned().ok()?;
        Some(Self { path: ttyname(&file).ok()?, before: tcgetattr(&file).ok()?, file })
    }

    /// Its file, such as `/dev/pts/3`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether our process group has it.
    pub fn is_ours(&self) -> bool {
        tcgetpgrp(&self.file) == Ok(getpgrp())
    }

    /// Whether a process group has it.
    pub fn is_of(&self, group: Pid) -> bool {
        tcgetpgrp(&self.file) == Ok(group)
    }

    /// Lets the job in the foreground paint its screen. Many programs do that only when they find another size than before:
    /// they get to see one for a moment.
    pub fn repaint(&self) {
        let Ok(size) = terminal::size(&self.file) else { return };
        let [rows, columns, width, height] = size;
        // The window itself is as large as before.
        if columns > 1 && terminal::set_size(&self.file, [rows, columns - 1, width, height]).is_ok() {
            thread::sleep(GLANCE);
            let _ = terminal::set_size(&self.file, size);
        }
    }

    /// Gives it to a process group. SIGTTOU must be blocked: whoever gives it back does not have it.
    pub fn give(&self, group: Pid) -> nix::Result<()> {
        tcsetpgrp(&self.file, group)
    }

    /// Takes it back, set as it was; answers how the job had set it.
    pub fn take_back(&self) -> Option<Termios> {
        let of_job = tcgetattr(&self.file).ok();
        let _ = tcsetpgrp(&self.file, getpgrp());
        self.set(&self.before);
        of_job
    }

    /// Sets it, once what was written has been shown.
    pub fn set(&self, settings: &Termios) {
        // A terminal that has gone away needs no settings.
        let _ = tcsetattr(&self.file, SetArg::TCSADRAIN, settings);
    }
}
