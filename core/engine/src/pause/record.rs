//! Who was stopped with SIGSTOP, in a small file of its own for each group. It is text, one line a process:
//!
//! ```text
//! dormouse pause 1
//! group PID START
//! stopped PID START
//! ```
//!
//! `START` is the start time of proc_pid_stat(5). A line about a process that is gone, or whose pid another has now,
//! says nothing; a file of which nothing is left is removed by whoever reads it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use dormouse_wire::{Pid, Problem, ProblemKind, phrase};

use super::standing::{self, Standing};
use crate::proc::{self, stat, text};

const HEADING: &[u8] = b"dormouse pause 1";
const EXTENSION: &str = "pause";

/// A process that cannot be taken for a later one with its pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Remembered {
    /// Its pid.
    pub pid: Pid,
    /// When it started.
    pub start: u64,
}

impl Remembered {
    /// The process that has the pid now.
    pub fn of(pid: Pid) -> Option<Self> {
        let stat = proc::parsed(pid, "stat", stat::parse).ok()?;
        Some(Self { pid, start: stat.start_time })
    }

    /// Whether it is still there.
    pub fn is_there(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// The file about one group.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    /// The process that the pause began from.
    pub group: Remembered,
    /// Those that were stopped, each after its parent.
    pub stopped: Vec<Remembered>,
}

impl Record {
    /// The record of a group, with what it says already. A new one is no file yet.
    pub fn of(folder: &Path, group: Remembered) -> Self {
        let path = folder.join(format!("{}-{}.{EXTENSION}", group.pid, group.start));
        let stopped = read(&path).map(|record| record.stopped).unwrap_or_default();
        Self { path, group, stopped }
    }

    /// All records in the folder. What they say of processes that have ended is left out, also of those that their parents
    /// have not asked for yet.
    pub fn all(folder: &Path) -> Vec<Self> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        let paths = paths.filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
        let mut found = Vec::new();
        for mut record in paths.filter_map(|path| read(&path)) {
            record.stopped.retain(|one| one.is_there() && standing::of(one.pid) != Standing::Ended);
            if record.stopped.is_empty() {
                let _ = fs::remove_file(&record.path);
            } else {
                found.push(record);
            }
        }
        found
    }

    /// Writes it: the file is there whole or not at all. With nobody in it, it is removed.
    pub fn keep(&self) -> Result<(), Problem> {
        self.write().map_err(|error| {
            let what = phrase!("who is stopped cannot be written down: {why}", why = error);
            Problem::blocks(ProblemKind::File, what).at(self.path.display().to_string())
        })
    }

    fn write(&self) -> io::Result<()> {
        if self.stopped.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let mut lines = format!("dormouse pause 1\ngroup {} {}\n", self.group.pid, self.group.start);
        for one in &self.stopped {
            lines.extend(["stopped ", &one.pid.to_string(), " ", &one.start.to_string(), "\n"]);
        }
        let new = self.path.with_extension(format!("new-{}", std::process::id()));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
        let written =
            file.and_then(|mut file| file.write_all(lines.as_bytes())).and_then(|()| fs::rename(&new, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }
}

/// What a file says; none where it is no record.
fn read(path: &Path) -> Option<Record> {
    let bytes = fs::read(path).ok()?;
    let (group, stopped) = parse(&bytes)?;
    Some(Record { path: path.to_owned(), group, stopped })
}

fn parse(bytes: &[u8]) -> Option<(Remembered, Vec<Remembered>)> {
    let mut lines = text::lines(bytes);
    if lines.next()? != HEADING {
        return None;
    }
    let process = |line: &[u8], word: &[u8]| {
        let mut words = text::words(line).skip_while(|first| *first == word);
        let (pid, start) = (words.next()?, words.next()?);
        line.starts_with(word).then_some(Remembered { pid: Pid(text::decimal(pid)?), start: text::decimal(start)? })
    };
    let group = process(lines.next()?, b"group")?;
    let stopped = lines.map(|line| process(line, b"stopped")).collect::<Option<_>>()?;
    Some((group, stopped))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn me() -> Remembered {
        Remembered::of(Pid(std::process::id() as i32)).expect("this process is there")
    }

    #[test]
    fn what_is_written_is_read_and_the_stale_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut record = Record::of(folder.path(), me());
        record.stopped = vec![me(), Remembered { start: me().start + 1, ..me() }];
        record.keep().expect("it can be written");
        let all = Record::all(folder.path());
        assert_eq!(
            all.iter().map(|record| (record.group, record.stopped.clone())).collect::<Vec<_>>(),
            [(me(), vec![me()])]
        );
        assert_eq!(Record::of(folder.path(), me()).stopped.len(), 2);
    }

    #[test]
    fn a_record_of_nobody_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut record = Record::of(folder.path(), me());
        record.stopped = vec![Remembered { start: me().start + 1, ..me() }];
        record.keep().expect("it can be written");
        assert!(Record::all(folder.path()).is_empty());
        assert_eq!(fs::read_dir(folder.path()).expect("the folder is there").count(), 0);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, lines in "(dormouse pause 1\n)?([a-z]{0,8} ?-?[0-9]{0,12}[ \n]){0,5}") {
            let _ = (parse(&bytes), parse(lines.as_bytes()));
        }
    }
}
