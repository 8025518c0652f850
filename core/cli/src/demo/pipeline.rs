//! The pipeline of the demonstration: how it is started, what it has counted, and which processes it has.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use dormouse_engine::kernel::files;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::family;
use crate::exit::Failure;
use crate::output::Table;

/// `seq` fills the pipe and waits there, a shell takes a number at a time, `cat` counts the lines.
pub const SCRIPT: &str =
    "seq 1 1000000 | while read -r n; do echo \"number $n\"; sleep 0.2; done | cat -n > counted.log";

/// A running pipeline, or a sleeping one. It is ended when this is dropped.
#[derive(Debug)]
pub struct Pipeline {
    first: i32,
    log: PathBuf,
}

/// A process as the table shows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    parent: i32,
    state: char,
    session: i32,
    command: String,
}

impl Pipeline {
    /// Starts it in this folder.
    pub fn start(folder: &Path) -> Result<Self, Failure> {
        // Files that the person's shell or make have left open lead out of the group.
        files::keep_from_programs()
            .map_err(|errno| Failure::system("The pipeline cannot be kept from open files", &errno.into()))?;
        // A shell that leads a session of its own.
        let child = Command::new("setsid")
            .args(["sh", "-c", SCRIPT])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Failure::system("The pipeline cannot be started", &error))?;
        Ok(Self { first: child.id() as i32, log: folder.join("counted.log") })
    }

    /// The pid of its first process, which leads the session too.
    pub fn first(&self) -> i32 {
        self.first
    }

    /// How far it has counted, once every line has been checked.
    pub fn counted(&self) -> Result<u64, Failure> {
        match fs::read_to_string(&self.log) {
            Ok(log) => counted(&log),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(Failure::system("The log of the pipeline cannot be read", &error)),
        }
    }

    /// Its processes: all of its session that have not ended.
    pub fn processes(&self) -> Result<Vec<Process>, Failure> {
        let failed = |error| Failure::system("The processes cannot be listed", &error);
        let mut processes = Vec::new();
        for entry in fs::read_dir("/proc").map_err(failed)? {
            let folder = entry.map_err(failed)?.path();
            // What ends while we look is not there.
            let Ok(stat) = fs::read_to_string(folder.join("stat")) else { continue };
            let Some(process) = process(&stat).filter(|process| process.session == self.first) else { continue };
            if process.state != 'Z' && process.state != 'X' {
                let command = fs::read(folder.join("cmdline")).unwrap_or_default();
                processes.push(Process { command: words(&command), ..process });
            }
        }
        processes.sort_by_key(|process| process.pid);
        Ok(processes)
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // Twice: a shell may be starting the next `sleep` while we look.
        for _ in 0..2 {
            for process in self.processes().unwrap_or_default() {
                let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
            }
            thread::sleep(Duration::from_millis(20));
            let _ = family::bury();
        }
    }
}

/// The processes as a table, in the words of ps(1).
pub fn table(processes: &[Process]) -> Table {
    let mut table = Table::new(&["PID", "PPID", "S", "COMMAND"], &[0, 1]);
    for Process { pid, parent, state, command, .. } in processes {
        table.row([pid.to_string(), parent.to_string(), state.to_string(), command.clone()]);
    }
    table
}

/// The number of the last whole line of the log; every line must have the number that `cat` gave it.
fn counted(log: &str) -> Result<u64, Failure> {
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut last = 0;
    for line in whole.lines() {
        last += 1;
        if line.trim_start() != format!("{last}\tnumber {last}") {
            return Err(Failure::new(format!("The counting went wrong: line {last} of the log says `{line}`.")));
        }
    }
    Ok(last)
}

/// A line of /proc/PID/stat, proc_pid_stat(5). The name in parentheses may hold anything.
fn process(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let mut fields = rest.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    let mut number = || fields.next()?.parse().ok();
    let (parent, _group, session) = (number()?, number()?, number()?);
    Some(Process { pid: pid.parse().ok()?, parent, state, session, command: String::new() })
}

/// The words of /proc/PID/cmdline, proc_pid_cmdline(5).
fn words(command: &[u8]) -> String {
    let words: Vec<_> = command.split(|&byte| byte == 0).map(String::from_utf8_lossy).collect();
    words.join(" ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Process, counted, process, words};

    #[test]
    fn only_whole_lines_in_their_order_count() {
        assert_eq!(counted(""), Ok(0));
        assert_eq!(counted("     1\tnumber 1\n     2\tnumber 2\n     3\tnu"), Ok(2));
        assert!(counted("     1\tnumber 1\n     2\tnumber 3\n").is_err());
        assert!(counted("     1\tnumber 1\n     1\tnumber 2\n").is_err());
    }

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let expected = Process { pid: 42, parent: 1, state: 'S', session: 40, command: String::new() };
        assert_eq!(process("42 (a) R (b) S 1 41 40 0 -1\n"), Some(expected));
        assert_eq!(words(b"sh\0-c\0seq 1 2\0"), "sh -c seq 1 2");
    }
}
