//! The plain parts of `/proc/PID` that several places here need: proc_pid_stat(5) and proc_pid_status(5).

use std::fs;

/// The fields of a `stat` file, counted as proc_pid_stat(5) counts them.
#[derive(Clone, Debug)]
pub struct Stat {
    comm: String,
    rest: Vec<String>,
}

impl Stat {
    /// Reads `/proc/PID/stat`; `None` when there is no such process.
    pub fn of(pid: i32) -> Option<Self> {
        Self::read(&format!("/proc/{pid}/stat"))
    }

    /// Reads a `stat` file, of a process or of a thread.
    pub fn read(path: &str) -> Option<Self> {
        let text = String::from_utf8_lossy(&fs::read(path).ok()?).into_owned();
        let (start, end) = (text.find('(')?, text.rfind(')')?);
        let rest = text[end + 1..].split_whitespace().map(str::to_owned).collect();
        Some(Self { comm: text[start + 1..end].to_owned(), rest })
    }

    /// The name in brackets.
    pub fn comm(&self) -> &str {
        &self.comm
    }

    /// Field `number`, 3 (state) or above; empty when the kernel does not write it.
    pub fn field(&self, number: usize) -> &str {
        self.rest.get(number - 3).map_or("", String::as_str)
    }

    /// The state: `R S D T t Z X`.
    pub fn state(&self) -> char {
        self.field(3).chars().next().unwrap_or('?')
    }

    /// Whether it is a zombie: dead, and not only a leader that has ended while other threads go on.
    pub fn is_dead(&self) -> bool {
        matches!(self.state(), 'Z' | 'X') && self.field(20).parse().is_ok_and(|threads: u32| threads <= 1)
    }

    /// The parent.
    pub fn ppid(&self) -> i32 {
        self.field(4).parse().unwrap_or(0)
    }
}

/// A thread of the process that has not ended; the leader's when it is one of them.
pub fn live_thread(pid: i32) -> Option<i32> {
    let ended = |tid: &i32| {
        Stat::read(&format!("/proc/{pid}/task/{tid}/stat")).is_none_or(|stat| matches!(stat.state(), 'Z' | 'X'))
    };
    numbers_in(&format!("/proc/{pid}/task")).into_iter().find(|tid| !ended(tid))
}

/// The lines of a `status` file as pairs.
pub fn status(path: &str) -> Option<Vec<(String, String)>> {
    let text = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let pair = |line: &str| line.split_once(':').map(|(key, value)| (key.to_owned(), value.trim().to_owned()));
    Some(text.lines().filter_map(pair).collect())
}

/// The numbers that name the entries of a folder such as `/proc/PID/task` or `/proc/PID/fd`, in order.
pub fn numbers_in(path: &str) -> Vec<i32> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut numbers: Vec<i32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok())).collect();
    numbers.sort_unstable();
    numbers
}
