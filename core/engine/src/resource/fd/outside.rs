//! Who else holds what the group has open: processes that are not part of it. A pipe or a socket whose other end one
//! of them has cannot be given back, nor can an open file description that one of them shares.

// zoo: no kind

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::os::fd::AsRawFd;

use dormouse_wire::{FdNumber, Pid, ProcessName, Tid};

use super::{FileFacts, FilesFacts};
use crate::kernel::{files, kcmp};
use crate::proc;

/// A descriptor of a process outside the group.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The process.
    pub process: ProcessName,
    /// The descriptor.
    pub number: FdNumber,
}

impl Holder {
    /// Whether it is the same open file description, kcmp(2): not only the same file.
    pub fn shares(&self, facts: &FileFacts) -> bool {
        let own = (Tid(std::process::id() as i32), FdNumber(facts.file.as_raw_fd()));
        kcmp::files(own, (self.process.pid.leader(), self.number)) == Ok(Ordering::Equal)
    }
}

/// The holders outside the group, by device and inode number.
#[derive(Debug, Default)]
pub struct Outside {
    holders: HashMap<(u64, u64), Vec<Holder>>,
}

impl Outside {
    /// Looks through the descriptors of all other processes that may be looked at, proc_pid_fd(5).
    pub fn scan(files: &FilesFacts) -> Self {
        let wanted: HashSet<(u64, u64)> = files.files.iter().map(|file| (file.stat.st_dev, file.stat.st_ino)).collect();
        let own = Pid(std::process::id() as i32);
        let mut found = Self::default();
        for pid in proc::list_pids().unwrap_or_default() {
            if pid != own && !files.members.contains(&pid) {
                found.process(pid, &wanted);
            }
        }
        found
    }

    fn process(&mut self, pid: Pid, wanted: &HashSet<(u64, u64)>) {
        let mut name = None;
        for number in proc::list_fds(pid).unwrap_or_default() {
            let path = proc::folder(pid).join(format!("fd/{number}"));
            let Some(inode) = files::identity(&path).ok().filter(|inode| wanted.contains(inode)) else { continue };
            let process = name.get_or_insert_with(|| named(pid)).clone();
            self.holders.entry(inode).or_default().push(Holder { process, number });
        }
    }

    /// Who holds this inode.
    pub fn holders(&self, stat: &libc::stat) -> &[Holder] {
        self.holders.get(&(stat.st_dev, stat.st_ino)).map_or(&[], Vec::as_slice)
    }
}

fn named(pid: Pid) -> ProcessName {
    let comm = proc::read(pid, "comm").unwrap_or_default();
    ProcessName { pid, comm: String::from_utf8_lossy(comm.trim_ascii_end()).into_owned() }
}
