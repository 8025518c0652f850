//! Who else holds what the group has open: processes that are not part of it. A pipe or a socket whose other end one
//! of them has cannot be given back, nor can an open file description that one of them shares.

// zoo: no kind

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::os::fd::AsRawFd;

use dormouse_wire::{FdNumber, Phrase, Pid, ProcessName, Tid, phrase};

use super::{FileFacts, FilesFacts, pty};
use crate::kernel::{files, kcmp, namespaces, terminal};
use crate::proc;

/// A descriptor of a process outside the group.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The process.
    pub process: ProcessName,
    /// The descriptor.
    pub number: FdNumber,
    /// What the process is called in this pid namespace, if it lives here: its name may tell the number it has outside.
    pub here: Option<Pid>,
}

impl Holder {
    /// Whether it is the same open file description, kcmp(2): not only the same file.
    pub fn shares(&self, facts: &FileFacts) -> bool {
        let own = (Tid(std::process::id() as i32), FdNumber(facts.file.as_raw_fd()));
        self.here.is_some_and(|here| kcmp::files(own, (here.leader(), self.number)) == Ok(Ordering::Equal))
    }
}

/// A sentence about the processes of these holders, `one` or, for several, `many`; `None` where there are none.
pub fn subject(holders: &[Holder], one: fn(Phrase) -> Phrase, many: fn(Phrase) -> Phrase) -> Option<Phrase> {
    const MOST: usize = 3;
    let mut names: Vec<Phrase> = holders.iter().map(|holder| Phrase::verbatim(holder.process.to_string())).collect();
    names.dedup();
    let others = names.len().saturating_sub(MOST);
    names.truncate(MOST);
    if others > 0 {
        names.push(if others == 1 { phrase!("one other") } else { phrase!("{others} others", others) });
    }
    let last = names.pop()?;
    if names.is_empty() {
        return Some(one(last));
    }
    let names = names.iter().map(Phrase::as_str).collect::<Vec<_>>().join(", ");
    Some(many(phrase!("{names} and {last}", names, last)))
}

/// The holders outside the group, by device and inode number.
#[derive(Debug, Default)]
pub struct Outside {
    holders: HashMap<(u64, u64), Vec<Holder>>,
    /// Processes by their controlling terminal, where the group has the master of one.
    on_terminals: HashMap<(u32, u32), Vec<ProcessName>>,
}

impl Outside {
    /// Looks through the descriptors of all other processes that may be looked at, proc_pid_fd(5).
    pub fn scan(files: &FilesFacts) -> Self {
        let mut wanted: HashSet<(u64, u64)> =
            files.files.iter().map(|file| (file.stat.st_dev, file.stat.st_ino)).collect();
        wanted.extend(files.sockets.outside());
        wanted.extend(files.connections().outside());
        // The slave of a master counts too, whether the group has it open or not.
        let masters = files.files.iter().filter(|file| pty::is_master(file));
        let numbers: Vec<u32> = masters.filter_map(|file| terminal::number(&file.file).ok()).collect();
        wanted.extend(numbers.iter().filter_map(|number| files::identity(&pty::node(*number)).ok()));
        let own = Pid(std::process::id() as i32);
        let here = proc::ns::read(own, "pid").ok();
        let mut found = Self::default();
        proc::from_outside(|is_other| {
            for pid in proc::list_pids().unwrap_or_default() {
                let known_here = if is_other { inside(pid, here.as_ref()) } else { Some(pid) };
                if known_here.is_none_or(|pid| pid != own && !files.members.contains(&pid)) {
                    found.process(pid, known_here, &wanted);
                    if !numbers.is_empty() {
                        found.terminal(pid);
                    }
                }
            }
        });
        found
    }

    fn process(&mut self, pid: Pid, here: Option<Pid>, wanted: &HashSet<(u64, u64)>) {
        let mut name = None;
        for number in proc::list_fds(pid).unwrap_or_default() {
            let path = proc::folder(pid).join(format!("fd/{number}"));
            let Some(inode) = files::identity(&path).ok().filter(|inode| wanted.contains(inode)) else { continue };
            let process = name.get_or_insert_with(|| named(pid)).clone();
            self.holders.entry(inode).or_default().push(Holder { process, number, here });
        }
    }

    fn terminal(&mut self, pid: Pid) {
        // Whoever ends meanwhile is on no terminal any more.
        let Ok(stat) = proc::parsed(pid, "stat", proc::stat::parse) else { return };
        if let Some(terminal) = stat.terminal() {
            self.on_terminals.entry(terminal).or_default().push(named(pid));
        }
    }

    /// Who holds this inode of this device.
    pub fn holders(&self, place: (u64, u64)) -> &[Holder] {
        self.holders.get(&place).map_or(&[], Vec::as_slice)
    }

    /// Whose controlling terminal this is.
    pub fn on_terminal(&self, device: (u32, u32)) -> &[ProcessName] {
        self.on_terminals.get(&device).map_or(&[], Vec::as_slice)
    }
}

/// What a process that is seen from outside is called in our own pid namespace, if it lives there or further in.
fn inside(pid: Pid, here: Option<&proc::ns::NamespaceLink>) -> Option<Pid> {
    let below = namespaces::pids_below(&proc::folder(pid).join("ns/pid"), here?.inode)?;
    let numbers = proc::parsed(pid, "status", proc::status::parse).ok()?.namespace_pid;
    numbers.iter().rev().nth(below).copied().map(Pid)
}

fn named(pid: Pid) -> ProcessName {
    let comm = proc::read(pid, "comm").unwrap_or_default();
    ProcessName { pid, comm: String::from_utf8_lossy(comm.trim_ascii_end()).into_owned() }
}
